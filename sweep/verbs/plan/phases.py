"""Progress of a preparation: a status line on a terminal, and in a log each phase once and its share every minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

from sweep.planning import scoring
from sweep.study import Study, preparation
from sweep.study.ingredients import BaseModelCheck
from sweep.study.numbers import clock, percent

Progress = Callable[[str, float | None], None]
LOG_SECONDS = 60.0
RELIABLE_SECONDS = 3.0  # before the time that is left is estimated


@contextmanager
def shown(console: Console) -> Iterator[Progress]:
    with console.status("loading torch") as status:
        yield _Phases(console, status).show


class _Phases:
    """Shows the current phase, the share of it that is done and the time that is left, where they are known."""

    def __init__(self, console: Console, status: Status) -> None:
        self.console, self.status = console, status
        self.printed: dict[str, float] = {}  # when each phase was printed last
        self.phase, self.began, self.first = "", 0.0, 0.0

    def show(self, phase: str, share: float | None) -> None:
        if phase != self.phase:
            self.phase, self.began, self.first = phase, time.monotonic(), share or 0.0
        line = phase if share is None else f"{phase}: {percent(share)}{self._left(share)}"
        self.status.update(line)
        now = time.monotonic()
        if not self.console.is_terminal and now - self.printed.get(phase, -LOG_SECONDS) >= LOG_SECONDS:
            self.console.print(line if phase in self.printed else phase, markup=False, soft_wrap=True)
            self.printed[phase] = now

    def _left(self, share: float) -> str:
        seconds, done = time.monotonic() - self.began, share - self.first
        if seconds < RELIABLE_SECONDS or done <= 0 or share >= 1:
            return ""
        return f", about {clock(seconds * (1 - share) / done)} left"


def preparation_lines(study: Study) -> list[str]:
    """What a run says before it prepares its study: what it takes from `almr prepare`, or why it cannot."""
    state = preparation.state(study)
    if state.ready:
        fetched = [f"fetching what it lacks: {state.reason}"] if state.reason else []
        return ["taking what almr prepare has prepared", *commit_lines(state.ready.ingredients.commits), *fetched]
    return [f"preparing anew what has changed: {state.reason}"] if state.reason else []


def commit_lines(commits: dict[str, str]) -> list[str]:
    return [f"commit of {field(part)}: {commit}" for part, commit in commits.items()]


def base_model_lines(study: Study, check: BaseModelCheck | None) -> list[str]:
    """What was found of the base model."""
    known = study.corpora.by_name
    return check.lines(lambda name: study.source_label(name) if name in known else name) if check else []


def field(part: str) -> str:
    """The study's field of a part."""
    return part if part.startswith("base_model") else f"corpora.{part}"


def print_unscored(study: Study, console: Console) -> None:
    for task in scoring.tasks(study):
        if task.missing:
            console.print(f"not scored: {task.name}: {task.missing}", markup=False, soft_wrap=True)
