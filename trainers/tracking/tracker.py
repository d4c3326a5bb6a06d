"""Tracking of a trial's curves with TensorBoard, Weights & Biases and MLflow.

Tracking never fails a trial: an error is a warning in `train.log`, and that tool is left out from then on. Credentials
come only from the environment (WANDB_API_KEY, MLFLOW_TRACKING_TOKEN).
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweep.study import InputError, Study, Trial
from sweep.study.sections.resources import Tracking
from trainers.tracking import sinks
from trainers.tracking.sinks import Sink, Values

log = logging.getLogger(__name__)
MODULES = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow"}
DISTRIBUTIONS = MODULES | {"mlflow": "mlflow-skinny"}  # the client alone


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
        "tensorboard": lambda: sinks.TensorBoard(folder / "tensorboard", first_step),
        "wandb": lambda: sinks.WandB(study.tracking.wandb or "", study, trial, folder),
        "mlflow": lambda: sinks.MLflow(study.tracking.mlflow or "", study, trial),
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
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    log.warning("tracking.%s: could not %s it (%s); the trial continues without it", name, doing, reason)
