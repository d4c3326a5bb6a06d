"""prepare.sh: makes the text of a launch ready for its trainer, once, before the start."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from sweep.study.files import disk

NAME = "prepare.sh"
WHERE = """# Run it once, on a machine that sees this folder, the corpora and the model; it needs no GPU.
# ALMR: the command almr, where it is not on PATH.
"""
PACKS = "# Packs the text that this launch trains and is evaluated on, into data/.\n"
PREPARES = """# Downloads, tokenises and packs what this launch trains on into the cache of almr: no GPU waits for it.
# ALMR_CACHE (and HF_HOME) have to be folders that the nodes see too, and are set alike for start.sh.
"""
PREPARED = "prepared.json"  # what native's prepare.sh leaves, when all is ready


def pack_script(name: str, data: str, held_out: Mapping[str, str], first: str = "") -> str:
    """The script of a format that reads packed text. `held_out`: stated files, by name; `first`: bash before it."""
    stated = [part for one, files in held_out.items() for part in ("--held-out", f"{one}={files}")]
    command = shlex.join(["pack", "study.yaml", "--format", name, "--out", data, *stated])
    return _script(PACKS, f'{first}"$almr" {command}\n')


def native_script(first: str = "") -> str:
    """The script of our own trainer, which reads the cache. `first`: bash before it."""
    lines = f'"$almr" prepare study.yaml --json > {PREPARED}.unfinished\nmv {PREPARED}.unfinished {PREPARED}\n'
    return _script(PREPARES, f"{first}{lines}printf 'prepared: {PREPARED} says what lies where\\n'\n")


def write(folder: Path, text: str) -> None:
    script = folder / NAME
    disk.written(script, text)
    script.chmod(0o755)


def _script(about: str, command: str) -> str:
    body = Path(__file__).with_name("prepare.sh").read_text(encoding="utf-8")
    return f"#!/usr/bin/env bash\n{about}{WHERE}set -euo pipefail\n{body}{command}"
