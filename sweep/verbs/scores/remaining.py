"""The progress of scoring: which model and task, what is left, and for how long."""

from __future__ import annotations

import time

from rich.console import Console
from rich.status import Status

from sweep.planning import scoring
from sweep.study.numbers import clock, percent
from sweep.study.sections.benchmarks import Benchmarks
from trainers.benchmarks import catalogue

RELIABLE_SECONDS = 3.0  # before the time that is left is estimated
UNKNOWN_QUESTIONS = 500  # of a task of the user's own


class Remaining:
    """Counts the questions of all models that have to be asked: a line on a terminal, and one for each finished task
    in a log.
    """

    def __init__(self, console: Console, status: Status, benchmarks: Benchmarks, models: int) -> None:
        self.console, self.status, self.benchmarks = console, status, benchmarks
        self.models, self.left, self.done, self.began = models, models, 0, time.monotonic()
        self.asked: list[str] = []  # the tasks that are left of the model of now
        self.where, self.steps = "", 0

    def say(self, phase: str, share: float | None = None) -> None:
        """A phase before the questions, such as a download."""
        self.status.update(phase if share is None else f"{phase}: {percent(share)}")

    def model(self, label: str, tasks: list[str]) -> None:
        self.where, self.asked = f"{label}, model {self.models - self.left + 1} of {self.models}", list(tasks)
        self.left -= 1

    def task(self, name: str) -> None:
        self.steps = 0
        self._show(name)

    def step(self) -> None:
        """A batch was answered."""
        self.steps += 1
        self._show(self.asked[0] if self.asked else "")

    def finished(self, name: str, outcome: str) -> None:
        self.done += self._questions(name)
        self.asked = [task for task in self.asked if task != name]
        if not self.console.is_terminal:
            label = self.where.partition(",")[0]
            line = f"{label}: {name} {outcome}; {len(self.asked)} of its tasks left{self._time(self._share())}"
            self.console.print(line, markup=False, soft_wrap=True)

    def failed(self, label: str, why: str) -> None:
        """A model cannot be asked."""
        self.done += sum(map(self._questions, self.asked))
        self.asked = []
        self.console.print(f"{label}: not scored: {why}", markup=False, soft_wrap=True)

    def _show(self, name: str) -> None:
        share = self._share()
        self.status.update(
            f"{self.where}: {name} ({len(self.asked)} tasks left, batch {self.steps}), {percent(share)} of all"
            f"{self._time(share)}"
        )

    def _share(self) -> float:
        """Of the questions: later models are taken to need as many as this one."""
        ahead = sum(map(self._questions, self.asked))
        each = (self.done + ahead) / max(1, self.models - self.left)
        return self.done / max(1.0, self.done + ahead + self.left * each)

    def _time(self, share: float) -> str:
        seconds = time.monotonic() - self.began
        if seconds < RELIABLE_SECONDS or not 0 < share < 1:
            return ""
        return f", about {clock(seconds * (1 - share) / share)} left"

    def _questions(self, task: str) -> int:
        if task in catalogue.CLOZE.values():
            return catalogue.CLOZE_QUESTIONS
        return scoring.questions(self.benchmarks, task) or UNKNOWN_QUESTIONS
