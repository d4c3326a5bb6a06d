"""`tracking.optuna`: the run's study in an Optuna storage, kept up to date while the run goes on."""

from __future__ import annotations

from sweep.store.run import Run
from sweep.study import Record, Study, Trial
from sweep.trials.followers.follower import End, Follower
from sweep.trials.followers.optuna.storage import OptunaStorage
from sweep.trials.followers.result import facts
from sweep.trials.progress import RunProgress


class OptunaLive(Follower):
    """The storage is opened with the first event: it takes seconds, and no trial waits for it."""

    name = "tracking.optuna"

    def __init__(self, study: Study, run: Run) -> None:
        self.study, self.run = study, run
        self.opened: OptunaStorage | None = None

    @property
    def storage(self) -> OptunaStorage:
        """With the trials that ended in earlier sessions."""
        if self.opened is None:
            self.opened = OptunaStorage(self.study.tracking.optuna or "", self.study, self.run)
            self.opened.sync(RunProgress.of(self.study, self.run).records)
        return self.opened

    def training(self, on: bool) -> None:
        if on:
            self.storage.describe({"status": "running"})

    def started(self, trial: Trial) -> None:
        self.storage.begin(trial)

    def ended(self, record: Record) -> None:
        self.storage.sync([record])

    def end(self, end: End) -> None:
        self.storage.sync(RunProgress.of(self.study, self.run).records)
        self.storage.interrupt()
        self.storage.describe({"status": end.event, **facts(end)})
        self.storage.close()
