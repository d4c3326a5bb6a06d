"""The run of the study in MLflow and W&B, and trials that failed, whose workers could not tell it."""

from __future__ import annotations

from typing import Any

from sweep.store.run import Run
from sweep.study import Record, Status, Study
from sweep.study.files.layout import is_of_trial
from sweep.trials.followers.follower import End, Follower, Tell
from sweep.trials.followers.result import facts


class TrackedRuns(Follower):
    """Only where workers have sessions in these tools: a replay has none."""

    name = "tracking"

    def __init__(self, study: Study, run: Run, tell: Tell) -> None:
        self.study, self.run, self.tell = study, run, tell

    def open(self) -> None:
        if self.study.tracking.mlflow:
            from trainers.tracking import study_runs

            study_runs.open_runs(self.study, self.run.folder, self._warn)
            if self.run.mirror and self.run.files.tracking.is_file():
                self.run.mirror.put(self.run.files.name(self.run.files.tracking))

    def ended(self, record: Record) -> None:
        """Of a trial that failed on every retry. The others were ended by their workers."""
        if record.status is not Status.FAILED:
            return
        from trainers.tracking import study_runs

        files = self.run.files.trial(record.trial_id)
        if self.run.mirror:
            self.run.mirror.fetch(self.run.files.name(files.tracking))
        study_runs.end_trial(self.study, record, files.folder, self._warn)
        if self.run.mirror:
            self.run.mirror.push(lambda name: is_of_trial(name, record.trial_id))

    def end(self, end: End) -> None:
        if not (self.study.tracking.mlflow or self.study.tracking.wandb):
            return
        from trainers.tracking import study_runs

        files = [path for path in (self.run.files.fit, self.run.files.report) if end.fitted and path.is_file()]
        known: dict[str, Any] = facts(end) | ({"reason": end.why} if end.why else {})
        study_runs.conclude(self.study, self.run.folder, known, files, end.event, self._warn)

    def _warn(self, text: str) -> None:
        self.tell(f"warning: {text}")
