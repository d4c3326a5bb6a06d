"""Progress while trials run: a live view on a terminal, in a log a dated line per trial that ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from sweep.planning import scoring
from sweep.store.run import Run
from sweep.study import Record, Status, Study, Trial
from sweep.trials import budget
from sweep.trials.budget import Budget
from sweep.trials.progress import RunProgress
from sweep.verbs.live import provisional, text
from sweep.verbs.live.files import scoring_after
from sweep.verbs.live.now import RunningTrial, RunNow, Tally

LOOK_SECONDS = 1.0  # between looks at the running trials' files
SILENT_SECONDS = 300.0  # after which a log says that the run goes on


class Display:
    """Shows a sweep, which goes on from `progress`. `tell` is told which trials run, by their ids."""

    def __init__(
        self,
        console: Console,
        study: Study,
        run: Run,
        progress: RunProgress,
        tell: Callable[[list[str]], None] = lambda running: None,
    ) -> None:
        self.console, self.study, self.run, self.tell = console, study, run, tell
        self.total = progress.total
        self.tally = Tally(study, progress.settled)
        self.done = {record.trial_id for record in progress.settled}  # those of earlier sessions first
        self.counted: list[Record] = []  # of a search whose budget is not a number of trials: records take memory
        for record in progress.settled:
            self._count(record)
        self.also = {trial.id for trial in progress.also}  # which the user named, and no budget counts
        self.running: dict[str, tuple[Trial, float]] = {}  # with the time it started, in seconds since 1970
        self.in_parallel = 1  # at most so far
        self.launch_loss: float | None = None  # of the last proposal that knew it
        self.scoring = scoring.finalist_seconds(study)
        self.said, self.since = time.monotonic(), time.time()

    @contextmanager
    def live(self) -> Iterator[None]:
        ended = threading.Event()
        act = self._show if self.console.is_terminal else self._break_silence
        shower = threading.Thread(target=act, args=(ended,), name="almr-display", daemon=True)
        shower.start()
        try:
            yield
        finally:
            ended.set()
            shower.join(10 * LOOK_SECONDS)  # it gives the terminal back

    def watch(self, trial: Trial, record: Record | None) -> None:
        """A trial has started, or ended with its record."""
        if record:
            self.ended(record)
        else:
            self.started(trial)

    def started(self, trial: Trial) -> None:
        proposed = self.run.proposed(trial)
        self.launch_loss = proposed.launch_loss if proposed and proposed.launch_loss is not None else self.launch_loss
        self.running[trial.id] = (trial, time.time())
        self.in_parallel = max(self.in_parallel, len(self.running))
        self.total = max(self.total, len(self.done) + len(self.running.keys() - self.done))  # a grid may grow
        self.tell(list(self.running))

    def ended(self, record: Record) -> None:
        self.running.pop(record.trial_id, None)
        self.tally.add(record, time.time())
        self._count(record)
        if (of := self._budget) and of.more is not None:
            waiting = self.also - self.done - self.running.keys()
            self.total = len(self.done) + len(self.running) + len(waiting) + of.more
        self.tell(list(self.running))
        if not self.console.is_terminal:
            self._say(self._line(record))

    def now(self) -> RunNow:
        """What the run is doing now."""
        return RunNow(
            study=self.study,
            tally=self.tally,
            total=self.total,
            left=max(0, self.total - len(self.done)),
            running=[RunningTrial.of(self.run, self.study, *one) for one in list(self.running.values())],
            at_once=self.in_parallel,
            spent=budget.spent(self._budget),
            launch_loss=self.launch_loss,
            driver="this process",
            since=self.since,
            provisional=provisional.read(self.run),
            after=scoring_after(self.study, self.scoring, self.in_parallel),
        )

    def _show(self, ended: threading.Event) -> None:
        with text.view(self.console) as show:
            while not ended.wait(LOOK_SECONDS):
                show(self.now())

    def _break_silence(self, ended: threading.Event) -> None:
        while not ended.wait(LOOK_SECONDS):
            if time.monotonic() - self.said >= SILENT_SECONDS:
                self._say(text.brief(self.now()))

    def _say(self, line: str) -> None:
        self.said = time.monotonic()
        self.console.print(text.dated(line), highlight=False, markup=False, soft_wrap=True)

    def _count(self, record: Record) -> None:
        self.done.add(record.trial_id)
        if self._has_budget:
            self.counted = [one for one in self.counted if one.trial_id != record.trial_id] + [record]

    @property
    def _has_budget(self) -> bool:
        """Whether this is a search whose budget is not a number of trials."""
        return self.study.search.proposes and not self.study.search.trials

    @property
    def _budget(self) -> Budget | None:
        if not self._has_budget:
            return None
        return Budget.of(self.study, self.counted, len(self.running.keys() - self.also))

    def _over(self, record: Record) -> str:
        """The guards of losses that a complete trial exceeds."""
        broken = self.study.objective.broken(record)
        over = (f"the guard of {self.study.source_label(n)} ({loss:.4f} > {most:.4f})" for n, loss, most in broken)
        return f"over {' and '.join(over)}" if broken else "a loss of the objective was not measured"

    def _line(self, record: Record) -> str:
        loss = self.study.objective.of_record(record)
        failed = record.status in (Status.FAILED, Status.DIVERGED)
        lost = record.reason or ("no reason recorded" if failed else self._over(record))
        measured = lost if loss is None else f"{loss:.4f} {self.study.loss_unit}"
        left = self.now().time_left()
        parts = [measured + text.launch_loss(self.launch_loss), *budget.spent(self._budget)]
        parts += [text.time_left(left)] if left and not left.at_least else []
        return (
            f"[{len(self.done):>{len(str(self.total))}}/{self.total}] {record.trial_id} {record.status.value}: "
            f"{'; '.join(parts)}"
        )
