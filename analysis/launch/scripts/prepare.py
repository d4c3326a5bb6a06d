"""prepare.sh: packs the text of a launch for its trainer, once, before the start."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

HEAD = """#!/usr/bin/env bash
# Packs the text that this launch trains and is evaluated on, into data/. Run it once, on a machine that sees this
# folder, the corpora and the model; it needs no GPU. ALMR: the command almr, where it is not on PATH.
"""


def prepare_script(name: str, data: str, held_out: Mapping[str, str], head: str = "", more: str = "") -> str:
    """The script of a format. `held_out`: stated files, by name. `head` and `more` are the format's own lines: comments
    at the head, and bash after the packing, which may call `fail`.
    """
    stated = [part for one, files in held_out.items() for part in ("--held-out", f"{one}={files}")]
    command = shlex.join(["pack", "study.yaml", "--format", name, "--out", data, *stated])
    body = (Path(__file__).with_name("prepare.sh")).read_text(encoding="utf-8")
    return f'{HEAD}{head}set -euo pipefail\n{body}"$almr" {command}\n{more}'
