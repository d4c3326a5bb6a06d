"""Tracking of a trial's curves with TensorBoard, Weights & Biases and MLflow.

Tracking never fails a trial: an error is a warning in `train.log`, and that tool is left out from then on. Credentials
come only from the environment (WANDB_API_KEY, MLFLOW_TRACKING_TOKEN).
"""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sweep.study import InputError, Study, Trial
from sweep.study.errors import one_line
from sweep.study.files.layout import TrialFiles
from sweep.study.sections.resources import Tracking

log = logging.getLogger(__name__)
MODULES = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow"}
DISTRIBUTIONS = MODULES | {"mlflow": "mlflow-skinny"}  # the client alone
Values = dict[str, float]
SECONDS = 30  # for a server to answer


def used(tracking: Tracking) -> list[str]:
    """The fields of `tracking` that are set."""
    return [name for name in MODULES if getattr(tracking, name)]


def distributions(tracking: Tracking) -> list[str]:
    """The names of the packages that the study's tracking needs."""
    return [DISTRIBUTIONS[name] for name in used(tracking)]


def missing(tracking: Tracking) -> list[str]:
    """One line for each tool of the study that is not installed."""
    return [
        f"tracking.{name}: {MODULES[name]} is not installed: pip install 'almr-sweep[tracking]', or remove this field"
        for name in used(tracking)
        if importlib.util.find_spec(MODULES[name]) is None
    ]


def refuse_missing(tracking: Tracking) -> None:
    """Raises InputError where a tool of the study is not installed."""
    if lines := missing(tracking):
        raise InputError("\n".join(lines))


class Tracker:
    """Sends the lines of `metrics.jsonl` to the opened tools."""

    def __init__(self, opened: dict[str, Sink]) -> None:
        self.sinks = opened

    def log(self, line: dict[str, Any]) -> None:
        """Send the numbers of one line at its `step`, except those that are None."""
        values = flat(line)
        if values:
            self._each("log to", lambda sink: sink.put(values, int(line["step"])))

    def close(self, ended_well: bool = True) -> None:
        self._each("close", lambda sink: sink.close(ended_well))

    def _each(self, doing: str, act: Callable[[Sink], None]) -> None:
        for name, sink in list(self.sinks.items()):
            try:
                act(sink)
            except Exception as error:  # a network, a full disk, a server that refuses
                _warn(name, doing, error)
                del self.sinks[name]


def flat(line: dict[str, Any]) -> Values:
    """The numbers of one line by the names that the tools show: `train/loss`, `held_out/additional`; for a branch to a
    horizon with the prefix `horizon_N/`.
    """
    branch = f"horizon_{line['horizon']}/" if "horizon" in line else ""
    values: Values = {}
    for name, value in line.items():
        if isinstance(value, dict):
            values |= {f"{branch}{name}/{key}": float(v) for key, v in value.items() if v is not None}
        elif name not in ("step", "horizon") and isinstance(value, int | float):
            values[f"{branch}train/{name}"] = float(value)
    return values


@contextmanager
def tracked(study: Study, trial: Trial, folder: Path, first_step: int = 0) -> Iterator[Tracker]:
    """The tracking of a trial while it runs. A tool that cannot be opened is left out with a warning; a trial that
    raises is shown as failed. `first_step` is the step at which a resumed trial continues.
    """
    makers: dict[str, Callable[[], Sink]] = {
        "tensorboard": lambda: TensorBoard(TrialFiles(folder).tensorboard, first_step),
        "wandb": lambda: WandB(study.tracking.wandb or "", study, trial, folder),
        "mlflow": lambda: MLflow(study.tracking.mlflow or "", study, trial),
    }
    tracker = Tracker({})
    for name in used(study.tracking):
        try:
            tracker.sinks[name] = makers[name]()
        except Exception as error:  # a network, a server or a credential; wandb has its own classes
            _warn(name, "open", error)
    try:
        yield tracker
    except BaseException:
        tracker.close(ended_well=False)
        raise
    tracker.close()


def _warn(name: str, doing: str, error: Exception) -> None:
    reason = f"{type(error).__name__}: {one_line(error)}"
    log.warning("tracking.%s: could not %s it (%s); the trial continues without it", name, doing, reason)


class Sink(Protocol):
    """One tool; `Tracker` catches what it raises. `put` receives values by name at a step, `close` whether the trial
    ended without an error.
    """

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
