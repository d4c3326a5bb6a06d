"""start.sh: one format's trainer on every node, under torchrun or the trainer's own starter."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from sweep.launch import Launch

HERE = Path(__file__).parent
# What torchrun is told, from what start.sh has checked.
TORCHRUN = """exec torchrun --nnodes="$NNODES" --node-rank="$NODE_RANK" --nproc-per-node="$processes" \\
    --master-addr="$MASTER_ADDR" --master-port="$MASTER_PORT" \\
    """


@dataclass(frozen=True)
class Command:
    """How a trainer is started: bash, in the bundle's folder, with $model, $nodes, $gpus, $processes and $settings set.

    `check` refuses a machine without the trainer (`fail "..."`), `run` starts it. `install` is one line for SkyPilot.
    """

    trainer: str
    settings: str
    usage: str
    check: str
    run: str
    install: str


def start_script(launch: Launch, command: Command) -> str:
    names = {
        "model": launch.model,
        "settings": command.settings,
        "nodes": launch.nodes,
        "gpus": launch.gpus_per_node,
    }
    if "$processes" in command.run:
        names["processes"] = launch.processes_per_node
    lines = [
        "#!/usr/bin/env bash",
        f"# Starts the launch with {command.trainer}: run it on every node.",
        f"# {command.usage}",
        "set -euo pipefail",
        "",
        *(f"readonly {name}={shlex.quote(str(value))}" for name, value in names.items()),
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
    return "\n".join(lines) + "\n" + (HERE / "meeting.sh").read_text(encoding="utf-8") + command.run + "\n"
