"""A trial's curves for the tools that people already use: TensorBoard, Weights & Biases, MLflow.

Tracking never fails a trial: what goes wrong is a warning in its `train.log`, and that tool is left out from then on.
Credentials come from the environment alone (WANDB_API_KEY, MLFLOW_TRACKING_TOKEN).
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sweep.study.errors import InputError
from sweep.study.study import Study
from sweep.study.trial import Trial
from trainers.tracking import sinks
from trainers.tracking.sinks import Sink, Values

log = logging.getLogger(__name__)
MODULES = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow"}
DISTRIBUTIONS = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow-skinny"}  # also a part of mlflow


def used(study: Study) -> list[str]:
    """The fields of `tracking` that are set."""
    return [name for name in MODULES if getattr(study.tracking, name)]


def distributions(study: Study) -> list[str]:
    """The packages that the study's tracking needs."""
    return [DISTRIBUTIONS[name] for name in used(study)]


def missing(study: Study) -> list[str]:
    """A line for each tool that is asked for and not installed."""
    return [
        f"tracking.{name}: {MODULES[name]} is not installed: pip install 'almr-sweep[tracking]', or remove this field"
        for name in used(study)
        if importlib.util.find_spec(MODULES[name]) is None
    ]


def refuse_missing(study: Study) -> None:
    """Raises InputError for a sweep whose curves could not be tracked."""
    if lines := missing(study):
        raise InputError("\n".join(lines))


class Tracker:
    """Takes the lines of `metrics.jsonl` as they are written."""

    def __init__(self, opened: dict[str, Sink]) -> None:
        self.sinks = opened

    def log(self, line: dict[str, Any]) -> None:
        """One line: its `step`, and whatever in it is a number; what is None is left out."""
        values = flat(line)
        if values:
            self._each("log to", lambda sink: sink.put(values, int(line["step"])))

    def close(self, ended_well: bool = True) -> None:
        self._each("close", lambda sink: sink.close(ended_well))

    def _each(self, doing: str, act: Callable[[Sink], None]) -> None:
        for name, sink in list(self.sinks.items()):
            try:
                act(sink)
            except Exception as error:  # a network, a full disk, a server's own refusal
                _warn(name, doing, error)
                del self.sinks[name]


def flat(line: dict[str, Any]) -> Values:
    """Values of one line by the names they are shown under: `train/loss`, `held_out/additional`; those of a branch to
    a shorter horizon begin with `horizon_N/`.
    """
    branch = f"horizon_{line['horizon']}/" if "horizon" in line else ""
    values: Values = {}
    for name, value in line.items():
        if isinstance(value, dict):
            values |= {f"{branch}{name}/{key}": float(v) for key, v in value.items() if v is not None}
        elif name not in ("step", "horizon") and isinstance(value, int | float):
            values[f"{branch}train/{name}"] = float(value)
    return values


def open_tracking(study: Study, trial: Trial, folder: Path, first_step: int = 0) -> Tracker:
    """What the study asks for, of one trial; a tool that cannot be opened is warned of and left out. `first_step` is
    where a resumed trial goes on.
    """
    makers: dict[str, Callable[[], Sink]] = {
        "tensorboard": lambda: sinks.TensorBoard(folder / "tensorboard", first_step),
        "wandb": lambda: sinks.WandB(study.tracking.wandb or "", study, trial, folder),
        "mlflow": lambda: sinks.MLflow(study.tracking.mlflow or "", study, trial),
    }
    opened: dict[str, Sink] = {}
    for name in used(study):
        try:
            opened[name] = makers[name]()
        except Exception as error:  # as above; wandb has its own kinds
            _warn(name, "open", error)
    return Tracker(opened)


@contextmanager
def tracked(study: Study, trial: Trial, folder: Path, first_step: int = 0) -> Iterator[Tracker]:
    """Open while the trial runs; one that raises is shown as failed."""
    tracking = open_tracking(study, trial, folder, first_step)
    try:
        yield tracking
    except BaseException:
        tracking.close(ended_well=False)
        raise
    tracking.close()


def _warn(name: str, doing: str, error: Exception) -> None:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    log.warning("tracking.%s: could not %s it (%s); the trial goes on without", name, doing, reason)
