"""What is done to the disk under a command, and what has to come of it: one list for the soak and for the suite."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from disk_faults import ANY, CHANGES, FILLS, Answer, Call, Commands, FaultyDisk

from sweep.study.files.layout import SAVED_MODELS_LOCK

FULL, QUOTA, READ_ONLY = (errno.ENOSPC, FILLS), (errno.EDQUOT, FILLS), (errno.EROFS, CHANGES)
BROKEN, STALE = (errno.EIO, ANY), (errno.ESTALE, ANY)
DONE = (0, 3)  # a fit may be refused
LONGEST_LINE = 400


@dataclass(frozen=True)
class Case:
    """A command on a fresh copy of a folder, RUN among its words, and the fault of its disk from the n-th call on.
    `variable`: of the environment, that names the folder.
    """

    name: str
    arguments: tuple[str, ...]
    fault: tuple[int, Call]
    variable: str = ""

    @property
    def text(self) -> str:
        return f"{self.name}, {errno.errorcode[self.fault[0]]}"


ON_A_RUN = {
    "fit": ("fit", "RUN"),
    "report": ("report", "RUN"),
    "export": ("export", "RUN", "--accept-risk", "tried"),
    "confirm": ("confirm", "RUN", "--results", "results.csv", "--accept-risk", "tried"),
}
FAULTS = (FULL, QUOTA, READ_ONLY, BROKEN, STALE)
LIGHT = ("--strategies", "random", "--trials", "8", "--repeats", "1")
CASES = [Case(name, arguments, fault) for name, arguments in ON_A_RUN.items() for fault in FAULTS]
OF_TABLES = [Case("simulate", ("simulate", "table.csv", "--out", "RUN", *LIGHT), fault) for fault in FAULTS]
OF_CACHES = [Case("prepare", ("prepare", "prepared.yaml"), fault, "ALMR_CACHE") for fault in FAULTS]


class Outcome(NamedTuple):
    """`calls`: how many calls of the disk there were. `fault`: what is wrong with what came out; empty: nothing."""

    calls: int
    last: str
    answer: Answer
    fault: str


class Attack:
    """Commands on a run, in `place`, whose disk fails. `fresh`: the run that each starts from."""

    def __init__(self, disk: FaultyDisk, commands: Commands, place: Path, fresh: Path) -> None:
        self.disk, self.commands, self.place, self.fresh = disk, commands, place, fresh

    def once(self, case: Case, first: int, again: bool = False) -> Outcome:
        """The command with its disk failing from the `first` call on; with `again`, once more on a sound disk."""
        run = self.place / self.fresh.name
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(self.fresh, run)
        words = [str(run) if word == "RUN" else word for word in case.arguments]
        named = {case.variable: str(run)} if case.variable else {}
        with self.disk.failing(run, first, *case.fault):
            answer = self.commands.almr(*words, **named)
            calls, last = self.disk.calls, self.disk.last
        fault = judged(answer, run, case.fault[0]) if calls >= first else ""
        if again and not fault:
            done = self.commands.almr(*words, **named)
            fault = _left(run) if done.status in DONE else f"not whole afterwards: {done}"
        return Outcome(calls, last, answer, fault)

    def each(self, case: Case, every: int = 1) -> Iterator[tuple[int, Outcome]]:
        """With the first, and each `every`-th call, failing, until the command meets no fault any more."""
        first = 1
        while (outcome := self.once(case, first, again=first % 7 == 1)).calls >= first:
            yield first, outcome
            first += every


def _left(run: Path) -> str:
    """What is half written in a folder; empty where nothing is."""
    return next((f"left: {path.name}" for path in run.rglob(".*") if path.name != SAVED_MODELS_LOCK), "")


def judged(answer: Answer, run: Path, number: int) -> str:
    """What is wrong with the end of a command whose disk failed. A command may also have done without the file."""
    said = [line for line in answer.err.splitlines() if line.startswith("almr: ")]
    if number in (errno.ENOSPC, errno.EDQUOT) and (left := _left(run)):
        return left  # a disk that is read-only, broken or stale lets nothing be removed
    if "Traceback" in answer.err or answer.status not in (2, *DONE):
        return f"status {answer.status}: {answer.err[-500:]}"
    if answer.status in DONE:
        return ""
    if not said or len(said[-1]) > LONGEST_LINE:
        return f"says {answer.err[-500:]!r}"
    return "" if str(run) in said[-1] else f"names no file: {said[-1]}"
