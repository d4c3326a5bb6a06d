"""Read a bundle's files back with the trainers' own parsers and compare them, value by value, with the winner.

A reader is a script of its own: it runs under the Python that has the trainer, and knows nothing else but the files.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from analysis.launch.plan import Plan
from sweep.readback.expected import differences, question

READERS = Path(__file__).parent / "readers"
MISSING = 4  # a reader's exit status where its trainer is not installed
SECONDS = 600


@dataclass(frozen=True)
class Verdict:
    """Of one format. `differences` is None where it was not read: `why_not` says why. `parsers`: what read it."""

    name: str
    differences: list[str] | None
    parsers: str | None = None
    why_not: str | None = None

    @property
    def text(self) -> str:
        if self.differences is None:
            return f"{self.name}: not read back: {self.why_not}"
        if self.differences:
            return "\n".join(f"{self.name}: WRONG: {line}" for line in self.differences)
        return f"{self.name}: the same as the winner, read by {self.parsers}"


def verify(plan: Plan, bundle: Path, name: str, python: str = sys.executable) -> Verdict:
    """`bundle` holds the format's folder; `python` is an interpreter with the trainer."""
    # -I: a reader has its trainer's name, and its own folder must not be looked into.
    command = [python, "-I", str(READERS / f"{name}.py"), str((bundle / name).resolve()), json.dumps(question(plan))]
    if name == "native":
        command.remove("-I")  # it reads with this very package
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return Verdict(name, None, why_not=str(error))
    last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
    if done.returncode == MISSING:
        return Verdict(name, None, why_not=last[0])
    if done.returncode:
        return Verdict(name, [f"its own parser refuses it: {last[0]}"])
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return Verdict(name, differences(plan, answer), answer.pop("parsers"))
