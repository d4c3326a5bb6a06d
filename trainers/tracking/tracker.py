"""Tracking of a trial with TensorBoard, Weights & Biases and MLflow: its curves, and how it ended.

Tracking never fails a trial: an error is a warning in `train.log`, and that tool is left out from then on. Credentials
come only from the environment (WANDB_API_KEY, MLFLOW_TRACKING_TOKEN).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sweep.study import Record, Study, Trial
from sweep.study.errors import one_line, without_secrets
from sweep.study.files.layout import TrialFiles
from trainers.tracking.event_files import EventFiles
from trainers.tracking.mlflow_run import MLflowRun
from trainers.tracking.outcome import Outcome
from trainers.tracking.packages import used
from trainers.tracking.wandb_run import WandbRun

log = logging.getLogger(__name__)
Values = dict[str, float]
Tell = Callable[[str], None]


class Session(Protocol):
    """A trial in one tool; `Tracker` catches what it raises. `put` receives values by name at a step, `close` how the
    trial ended.
    """

    def put(self, values: Values, step: int) -> None: ...

    def close(self, outcome: Outcome) -> None: ...


class Tracker:
    """Sends the lines of `metrics.jsonl` to the opened tools, and at the end the outcome."""

    def __init__(self, study: Study, opened: dict[str, Session], tell: Tell = log.warning) -> None:
        self.study, self.sessions, self.tell = study, opened, tell
        self.outcome = Outcome("ended")  # without a record

    def log(self, line: dict[str, Any]) -> None:
        """Send the numbers of one line at its `step`, except those that are None."""
        values = flat(line)
        if values:
            self._each("log to", lambda session: session.put(values, int(line["step"])))

    def ended(self, record: Record) -> None:
        """Note the record, which is sent when the tools are closed."""
        self.outcome = Outcome.of(self.study, record)

    def warn(self, name: str, doing: str, error: Exception) -> None:
        self.tell(f"{fault(name, doing, error)}; the trial continues without it")

    def close(self) -> None:
        self._each("close", lambda session: session.close(self.outcome))

    def _each(self, doing: str, act: Callable[[Session], None]) -> None:
        for name, session in list(self.sessions.items()):
            try:
                act(session)
            except Exception as error:  # a network, a full disk, a server that refuses
                self.warn(name, doing, error)
                del self.sessions[name]


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
def tracked(
    study: Study, trial: Trial, folder: Path, first_step: int | None = 0, tell: Tell = log.warning
) -> Iterator[Tracker]:
    """The tracking of a trial while it runs. A tool that cannot be opened is left out with a warning; a trial that
    raises is shown as failed. `first_step` is the step at which a resumed trial continues; None where it has
    ended, and only its outcome is to come.
    """
    makers: dict[str, Callable[[], Session]] = {
        "tensorboard": lambda: EventFiles(study, trial, TrialFiles(folder).tensorboard, first_step),
        "wandb": lambda: WandbRun(study, trial, folder),
        "mlflow": lambda: MLflowRun(study, trial, folder),
    }
    tracker = Tracker(study, {}, tell)
    for name in used(study.tracking):
        try:
            tracker.sessions[name] = makers[name]()
        except Exception as error:  # a network, a server or a credential; wandb has its own classes
            tracker.warn(name, "open", error)
    try:
        yield tracker
    except BaseException as error:
        tracker.outcome = Outcome.of_error(error)
        raise
    finally:
        tracker.close()


def fault(name: str, doing: str, error: Exception) -> str:
    """What went wrong with a tool, in one line."""
    return f"tracking.{name}: could not {doing} it ({type(error).__name__}: {without_secrets(one_line(error))})"
