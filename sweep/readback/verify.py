"""Reads a bundle's files back with the trainers' own parsers and compares them, value by value, with the plan.

A reader is a separate script: it runs under the Python that has the trainer installed, and gets only the files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from analysis.launch.evidence.evidence import ReadBack
from analysis.launch.plan.launch_plan import LaunchPlan
from sweep.readback.expected import differences, question

READERS = Path(__file__).parent / "readers"
MISSING = 4  # a reader's exit status where its trainer is not installed
SECONDS = 600
ENVIRONMENTS = "ALMR_EXPORT_VENVS"  # a folder with one environment per format, from `make test-exports`


def interpreter(name: str) -> str:
    """The Python of the format's own environment where there is one: trainers cannot share an environment, nor ours."""
    found = Path(os.environ.get(ENVIRONMENTS) or "/nowhere", name, "bin", "python")
    return str(found) if name != "native" and found.exists() else sys.executable


def verify(plan: LaunchPlan, folder: Path, name: str, python: str | None = None) -> ReadBack:
    """`folder` contains the format's files; `python` has the trainer installed (default: `interpreter(name)`)."""
    python = python or interpreter(name)
    # -I: a reader has the name of its trainer, so its folder must not be on the path. -B: no bytecode in a bundle.
    flags = ["-B"] if name == "native" else ["-I", "-B"]  # the native reader imports this package
    command = [python, *flags, str(READERS / f"{name}.py"), str(folder.resolve()), json.dumps(question(plan))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return ReadBack(name=name, differences=None, why_not=str(error))
    last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
    if done.returncode == MISSING:
        why = f"{last[0]}: set {ENVIRONMENTS} to a folder with {name}/bin/python that has it installed"
        return ReadBack(name=name, differences=None, why_not=why)
    if done.returncode:
        return ReadBack(name=name, differences=(f"refused by the trainer's own parser: {last[0]}",))
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return ReadBack(name=name, differences=tuple(differences(plan, answer)), parsers=answer.pop("parsers"))
