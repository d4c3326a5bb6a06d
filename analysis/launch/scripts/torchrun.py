"""start.sh: runs one format's trainer on a node, under torchrun or the trainer's own launcher."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sweep.study.sections.launch import Launch

HERE = Path(__file__).parent
RESTARTS = 3  # of a run whose process failed; each goes on from the newest checkpoint
# Its variables are set and checked by start.sh. Of torchrun's rendezvous only c10d starts a group again: the static one
# (--master-addr) keeps the addresses of the processes that ended. All nodes start again with the one that failed.
TORCHRUN = """exec torchrun --nnodes="$NNODES" --nproc-per-node="$processes" --max-restarts="$ALMR_RESTARTS" \\
    --rdzv-backend=c10d --rdzv-id=almr --rdzv-endpoint="$MASTER_ADDR:$MASTER_PORT" \\
    --rdzv-conf="is_host=$((NODE_RANK == 0 ? 1 : 0))" --local-addr="$NODE_ADDR" \\
    """


@dataclass(frozen=True)
class Command:
    """The bash lines that start a trainer, in the format's folder, with $model, $nodes, $gpus, $processes, $settings
    and $checkpoints set.

    `check` refuses a machine without the trainer (`fail "..."`), `run` starts it, `install` is one line for SkyPilot.
    `prepare` is the script that packs its text, relative to that folder, into `packed`.
    `checkpoints` is the folder of this launch in $ALMR_CHECKPOINTS, where `run` uses it. `variables`: other environment
    variables that a user may have to set, with their defaults. `about`: comment lines for the head of start.sh, where
    the trainer's own settings take no comments.
    """

    trainer: str
    settings: str
    usage: str
    check: str
    run: str
    install: str
    prepare: str = ""
    packed: str = "data/,\n# which is copied as well"
    checkpoints: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    about: str = ""


def start_script(launch: Launch, command: Command, beside: str, what: str) -> str:
    """`what`: what is started, in words. `beside`: from the format's folder, the folder that holds the bundle, which no
    export replaces.
    """
    names = {
        "model": launch.model,
        "settings": command.settings,
        "nodes": launch.nodes,
        "gpus": launch.gpus_per_node,
        "restarts": RESTARTS,
    }
    if "$processes" in command.run:
        names["processes"] = launch.processes_per_node
    absolute = (
        '[[ -z "${ALMR_CHECKPOINTS:-}" || "$ALMR_CHECKPOINTS" == /* ]] || ALMR_CHECKPOINTS="$PWD/$ALMR_CHECKPOINTS"'
    )
    kept = f'readonly checkpoints="${{ALMR_CHECKPOINTS:-{beside}}}"/{shlex.quote(command.checkpoints)}'
    lines = [
        "#!/usr/bin/env bash",
        *command.about.splitlines(),
        f"# Starts {what} with {command.trainer}. Run it on every node.",
        f"# {command.usage}",
        f"# Checkpoints go below ALMR_CHECKPOINTS, a folder that all nodes share; by default {beside} from here.",
        "# Run it again to go on from the newest one. After a failure it does so by itself, up to ALMR_RESTARTS times.",
        "set -euo pipefail",
        "",
        *(f"readonly {name}={shlex.quote(str(value))}" for name, value in names.items()),
        absolute,
        *([kept] if "$checkpoints" in command.run else []),
        "",
        "fail() {",
        "    printf 'start.sh: %s\\n' \"$1\" >&2",
        "    exit 2",
        "}",
        "",
        'cd -- "$(dirname -- "${BASH_SOURCE[0]}")"',
        command.check,
        "",
    ]
    return "\n".join(lines) + "\n" + (HERE / "rendezvous.sh").read_text(encoding="utf-8") + command.run + "\n"
