"""The tools that a trial's curves go to, each behind `put` and `close`. What they raise is the caller's to catch."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Protocol

from sweep.study.study import Study
from sweep.study.trial import Trial

Values = dict[str, float]
SECONDS = 30  # that a server has to answer in


class Sink(Protocol):
    """One tool. `put` takes values by name at a step; `close` is told whether the trial ended without an error."""

    def put(self, values: Values, step: int) -> None: ...

    def close(self, ended_well: bool) -> None: ...


class TensorBoard:
    """Event files in the trial's folder. Those of an attempt that went further are hidden behind `first_step`."""

    def __init__(self, folder: Path, first_step: int) -> None:
        from tensorboardX import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=first_step, flush_secs=30)

    def put(self, values: Values, step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self, ended_well: bool) -> None:
        self.writer.close()


class WandB:
    """A run of the project, in a group named like the study. WANDB_MODE=offline keeps it in the trial's folder."""

    def __init__(self, project: str, study: Study, trial: Trial, folder: Path) -> None:
        import wandb

        self.run = wandb.init(
            project=project,
            group=study.name,
            name=trial.id,
            config=described(study, trial),
            dir=str(folder),
            settings=wandb.Settings(silent=True, init_timeout=SECONDS),
        )

    def put(self, values: Values, step: int) -> None:
        self.run.log(values | {"trial_step": step})  # its own step may never go back, ours does on a branch

    def close(self, ended_well: bool) -> None:
        self.run.finish(exit_code=0 if ended_well else 1)


class MLflow:
    """A run of the experiment that is named like the study."""

    def __init__(self, uri: str, study: Study, trial: Trial) -> None:
        # Its own seven retries with growing pauses would hold the trial up for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(SECONDS))
        from mlflow import MlflowClient

        self.client: Any = MlflowClient(tracking_uri=uri)
        self.run = self.client.create_run(self._experiment(study.name), run_name=trial.id).info.run_id
        for name, value in described(study, trial).items():
            self.client.log_param(self.run, name, value)

    def _experiment(self, name: str) -> str:
        """Several trials may want to make it at once."""
        if found := self.client.get_experiment_by_name(name):
            return str(found.experiment_id)
        try:
            return str(self.client.create_experiment(name))
        except Exception:
            if found := self.client.get_experiment_by_name(name):
                return str(found.experiment_id)
            raise

    def put(self, values: Values, step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def close(self, ended_well: bool) -> None:
        self.client.set_terminated(self.run, "FINISHED" if ended_well else "FAILED")


def described(study: Study, trial: Trial) -> dict[str, Any]:
    """What a trial is told apart by in a tool that shows many."""
    return {
        "study": study.name,
        **trial.model_dump(),
        "base_model": study.base_model.pretrained or study.base_model.embedded,
        "tokens": study.training.tokens,
        "fingerprint": study.fingerprint,
    }
