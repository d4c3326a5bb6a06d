"""Progress while trials run: a live display on a terminal, one line per finished trial in a log."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweep.store.run import Run
from sweep.study import Record, Status, Study, Trial
from sweep.study.numbers import clock, number, point
from sweep.trials import budget
from sweep.trials.budget import Budget
from sweep.trials.progress import RunProgress


class Display:
    """Shows a sweep, which goes on from `progress`."""

    def __init__(self, console: Console, study: Study, run: Run, progress: RunProgress) -> None:
        self.console, self.study, self.run = console, study, run
        self.total = progress.total
        self.done, self.failed = set[str](), set[str]()  # ids, those of earlier sessions first
        self.best: tuple[float, str] | None = None  # the lowest objective, and where
        self.counted: list[Record] = []  # of a search whose budget is not a number of trials: records take memory
        for record in progress.settled:
            self._count(record)
        self.also = {trial.id for trial in progress.also}  # which the user named, and no budget counts
        self.running: dict[str, tuple[Trial, float]] = {}  # with the time it started
        self.began = time.monotonic()
        self.durations: list[float] = []  # seconds, of the trials that this session completed
        self.in_parallel = 1  # at most so far
        self.launch_loss: float | None = None  # of the last proposal that knew it

    @contextmanager
    def live(self) -> Iterator[None]:
        if not self.console.is_terminal:
            yield
            return
        with Live(get_renderable=self._render, console=self.console, refresh_per_second=2, transient=True):
            yield

    def started(self, trial: Trial) -> None:
        proposed = self.run.proposed(trial)
        self.launch_loss = proposed.launch_loss if proposed and proposed.launch_loss is not None else self.launch_loss
        self.running[trial.id] = (trial, time.monotonic())
        self.in_parallel = max(self.in_parallel, len(self.running))
        self.total = max(self.total, len(self.done) + len(self.running.keys() - self.done))  # a grid may grow

    def ended(self, record: Record) -> None:
        _, started = self.running.pop(record.trial_id, (None, None))
        self._count(record)
        if started is not None and record.status is Status.COMPLETE:
            self.durations.append(time.monotonic() - started)
        if (of := self._budget) and of.more is not None:
            waiting = self.also - self.done - self.running.keys()
            self.total = len(self.done) + len(self.running) + len(waiting) + of.more
        if not self.console.is_terminal:
            self.console.print(self._line(record), highlight=False, soft_wrap=True)

    def _count(self, record: Record) -> None:
        self.done.add(record.trial_id)
        (self.failed.add if record.status is Status.FAILED else self.failed.discard)(record.trial_id)
        loss = self.study.objective.of_record(record)
        if loss is not None and (self.best is None or loss < self.best[0]):
            self.best = loss, point(record.almr, record.lr)
        if self._has_budget:
            self.counted = [one for one in self.counted if one.trial_id != record.trial_id] + [record]

    def _render(self) -> RenderableType:
        bar = ProgressBar(total=self.total, completed=len(self.done), width=40)
        table = Table.grid(padding=(0, 2))
        for trial, _ in list(self.running.values()):
            table.add_row("  training", trial.id, f"step {self.run.progress(trial)}/{self.study.training.steps}")
        return Group(bar, Text(self._counts()), Text(self._best()), table)

    def _counts(self) -> str:
        left, failed = max(0, self.total - len(self.done) - len(self.running)), len(self.failed)
        parts = [f"{len(self.done)} done", f"{len(self.running)} running", f"{left} left"]
        return " · ".join([*parts, *([f"{failed} failed"] if failed else []), *budget.spent(self._budget), self._eta()])

    @property
    def _has_budget(self) -> bool:
        """Whether this is a search whose budget is not a number of trials."""
        return self.study.search.proposes and not self.study.search.trials

    @property
    def _budget(self) -> Budget | None:
        if not self._has_budget:
            return None
        return Budget.of(self.study, self.counted, len(self.running.keys() - self.also))

    def _eta(self) -> str:
        """The time left, by the median trial of this session, less the steps that running trials have done."""
        if not self.durations:
            return f"{clock(time.monotonic() - self.began)} so far"
        done = sum(self.run.progress(t) / self.study.training.steps for t, _ in list(self.running.values()))
        trials_left = max(0.0, self.total - len(self.done) - done)
        seconds = trials_left * statistics.median(self.durations) / self.in_parallel
        return f"about {clock(seconds)} left"

    def _best(self) -> str:
        if self.best is None:
            return "no finished trial yet"
        loss, where = self.best
        return f"best so far: {where}: {loss:.4f} nats per token{launch_loss(self.launch_loss)}"

    def _over(self, record: Record) -> str:
        """The guards of losses that a complete trial exceeds."""
        broken = self.study.objective.broken(record)
        over = (f"the guard of {self.study.source_label(n)} ({loss:.4f} > {most:.4f})" for n, loss, most in broken)
        return f"over {' and '.join(over)}" if broken else "a loss of the objective was not measured"

    def _line(self, record: Record) -> str:
        loss = self.study.objective.of_record(record)
        measured = record.reason or self._over(record) if loss is None else f"{loss:.4f} nats per token"
        return (
            f"[{len(self.done):>{len(str(self.total))}}/{self.total}] {record.trial_id} {record.status.value}: "
            f"{'; '.join([measured + launch_loss(self.launch_loss), *budget.spent(self._budget), self._eta()])}"
        ).replace("[", r"\[", 1)


def launch_loss(expected: float | None) -> str:
    """What a search expects a launch of its best trial to lose, as the end of a line on it; empty where not known."""
    return "" if expected is None else f"; a launch now is expected to lose {number(expected, 4)} nats"
