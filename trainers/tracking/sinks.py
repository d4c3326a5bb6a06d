"""The tracking tools that receive a trial's curves, each as a sink. The caller catches what they raise."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Protocol

from sweep.study import Study, Trial

Values = dict[str, float]
SECONDS = 30  # for a server to answer


class Sink(Protocol):
    """One tool. `put` receives values by name at a step, `close` whether the trial ended without an error."""

    def put(self, values: Values, step: int) -> None: ...

    def close(self, ended_well: bool) -> None: ...


class TensorBoard:
    """Event files in the trial's folder; what an earlier attempt wrote from `first_step` on is hidden."""

    def __init__(self, folder: Path, first_step: int) -> None:
        from tensorboardX import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=first_step, flush_secs=30)

    def put(self, values: Values, step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self, ended_well: bool) -> None:
        self.writer.close()


class WandB:
    """A run in the project, in a group of the study's name. WANDB_MODE=offline writes it to the trial's folder."""

    def __init__(self, project: str, study: Study, trial: Trial, folder: Path) -> None:
        import wandb

        self.run = wandb.init(
            project=project,
            group=study.name,
            name=trial.id,
            config=description(study, trial),
            dir=str(folder),
            settings=wandb.Settings(silent=True, init_timeout=SECONDS),
        )

    def put(self, values: Values, step: int) -> None:
        self.run.log(values | {"trial_step": step})  # W&B's own step must not decrease, as a branch's does

    def close(self, ended_well: bool) -> None:
        self.run.finish(exit_code=0 if ended_well else 1)


class MLflow:
    """A run in the experiment of the study's name."""

    def __init__(self, uri: str, study: Study, trial: Trial) -> None:
        # MLflow's own seven retries with growing pauses would delay the trial by minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(SECONDS))
        from mlflow import MlflowClient

        self.client: Any = MlflowClient(tracking_uri=uri)
        self.run = self.client.create_run(self._experiment(study.name), run_name=trial.id).info.run_id
        for name, value in description(study, trial).items():
            self.client.log_param(self.run, name, value)

    def _experiment(self, name: str) -> str:
        """The id of the experiment, which several trials may try to create at once."""
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


def description(study: Study, trial: Trial) -> dict[str, Any]:
    """What distinguishes a trial from others in the tool."""
    return {
        "study": study.name,
        **trial.model_dump(),
        "base_model": study.base_model.pretrained or study.base_model.embedded,
        "tokens": study.training.tokens,
        "fingerprint": study.fingerprint,
    }
