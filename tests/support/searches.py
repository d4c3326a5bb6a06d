"""Searches driven by hand, without Ray: trials are answered from a known surface, in whatever order a test wants."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from known_surfaces import Known
from samples import make_study

from sweep.store.run import Run
from sweep.study import PerLanguage, Record, Status, Study, Trial
from sweep.trials.progress import RunProgress
from sweep.trials.queue import GridQueue, Queue, SearchQueue, Turn

GRID = {"almr": [0.1, 0.3, 0.5, 0.7, 0.9], "lr": {"from": 1e-5, "to": 1e-3, "points": 5}}
LOW = GRID | {"lr": [1e-5, 2e-5, 4e-5]}  # the lowest loss, at LR 1e-4, is beyond
Pick = Callable[[list[Trial]], Trial]


def searching(grid: Any = GRID, **search: Any) -> Study:
    return make_study(grid=grid, search={"strategy": "surface", "trials": 14} | search)


def first(flight: list[Trial]) -> Trial:
    return flight[0]


def last(flight: list[Trial]) -> Trial:
    return flight[-1]


def shuffled(seed: int) -> Pick:
    return random.Random(seed).choice


@dataclass
class Driver:
    """Runs a study as Tune would. The cluster holds `room` trials; a search keeps to `at_once` itself."""

    study: Study
    folder: Path
    at_once: int = 2
    room: int = 99
    known: Known = field(default_factory=Known)
    diverging: float = 1.0  # the LR from which trials diverge
    failing: Collection[str] = ()
    took: Callable[[Trial], dict[str, Any]] = lambda trial: {}  # what a record says of a trial's cost
    most: int = 0
    fault: str | None = None  # why the queue was done with trials left
    seconds: float = 0.0  # the clock; while it stands, no trial is late

    @property
    def run(self) -> Run:
        return Run(self.folder)

    def go(self, pick: Pick = first, events: int = 10**6) -> list[Trial]:
        """The trials given, in order, until the queue is done or so many trials have started or ended."""
        self.run.freeze(self.study)
        queue, flight, given = self._queue(), list[Trial](), list[Trial]()
        for _ in range(events):
            turn = queue.next() if len(flight) < self.room else Turn.WAIT
            if isinstance(turn, Trial):
                self.run.start(turn, self.study)
                flight.append(turn)
                given.append(turn)
                self.most = max(self.most, len(flight))
            elif flight:
                self._end(queue, flight, pick(flight))
            else:
                assert turn is Turn.DONE, "it waits for nothing"
                self.fault = queue.fault
                break
        return given

    def _queue(self) -> Queue:
        if self.study.search.proposes:
            return SearchQueue(self.study, self.run, self.at_once, seconds=lambda: self.seconds)
        return GridQueue(self.study, self.run, RunProgress.of(self.study, self.run).left, self.at_once)

    def _end(self, queue: Queue, flight: list[Trial], trial: Trial) -> None:
        flight.remove(trial)
        self.run.finish(self._record(trial))
        queue.ended(trial)

    def _record(self, trial: Trial) -> Record:
        status, loss = Status.COMPLETE, PerLanguage(**self.known.losses(trial.almr, trial.lr))
        if trial.id in self.failing:
            status, loss = Status.FAILED, PerLanguage()
        elif trial.lr >= self.diverging:
            status, loss = Status.DIVERGED, PerLanguage()
        return Record(
            **trial.model_dump(), trial_id=trial.id, fingerprint=self.study.fingerprint, status=status, attempt=1,
            loss=loss, proposed=self.run.proposed(trial), **self.took(trial),
        )  # fmt: skip

    @property
    def proposals(self) -> list[tuple[int, float, float, str]]:
        return [(r.proposed.index, r.almr, r.lr, r.proposed.why) for r in self.run.requests() if r.proposed]

    @property
    def table(self) -> dict[str, tuple[str, float | None]]:
        """What came of each trial."""
        records = [self.run.record(request.trial) for request in self.run.requests()]
        return {r.trial_id: (r.status.value, r.loss.original) for r in records if r}
