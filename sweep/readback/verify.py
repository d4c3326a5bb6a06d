"""Read a bundle's files back with the trainers' own parsers and compare them, value by value, with the winner.

A reader is a script of its own: it runs under the Python that has the trainer, and knows nothing else but the files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from analysis.launch.evidence.read_back import ReadBack
from analysis.launch.plan.launch_plan import LaunchPlan
from sweep.readback.expected import differences, question

READERS = Path(__file__).parent / "readers"
MISSING = 4  # a reader's exit status where its trainer is not installed
SECONDS = 600
ENVIRONMENTS = "ALMR_EXPORT_VENVS"  # a folder with an environment for each format, as `make test-exports` makes it


def interpreter(name: str) -> str:
    """A Python that may have the format's trainer: trainers cannot share one environment, nor ours."""
    found = Path(os.environ.get(ENVIRONMENTS) or "/nowhere", name, "bin", "python")
    return str(found) if name != "native" and found.exists() else sys.executable


def verify(plan: LaunchPlan, folder: Path, name: str, python: str | None = None) -> ReadBack:
    """`folder` holds the format's files; `python` is an interpreter with the trainer, by default the one found."""
    python = python or interpreter(name)
    # -I: a reader has its trainer's name, and its own folder must not be looked into. -B: a bundle gets no bytecode.
    flags = ["-B"] if name == "native" else ["-I", "-B"]  # the native one reads with this very package
    command = [python, *flags, str(READERS / f"{name}.py"), str(folder.resolve()), json.dumps(question(plan))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return ReadBack(name=name, differences=None, why_not=str(error))
    last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
    if done.returncode == MISSING:
        why = f"{last[0]}: set {ENVIRONMENTS} to a folder with {name}/bin/python that has it"
        return ReadBack(name=name, differences=None, why_not=why)
    if done.returncode:
        return ReadBack(name=name, differences=(f"its own parser refuses it: {last[0]}",))
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return ReadBack(name=name, differences=tuple(differences(plan, answer)), parsers=answer.pop("parsers"))
