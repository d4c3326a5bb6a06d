"""What passes between a trial's flow and the process that measures what its trainer left."""

from __future__ import annotations

from pathlib import Path

from sweep.external.runs.trace import Trace
from sweep.study import Record, Schema, Trial
from sweep.study.fields import TrainerName
from sweep.study.files.atomic import write_atomically


class TrainedRun(Schema):
    """A finished training run of a trial: to a horizon of so many `tokens`, or to the budget (None). `study`: the file
    with the trial as a study of its own; `data`: the trainer's packed text, None where we did not pack it.
    """

    tokens: int | None
    study: str
    data: str | None
    trace: Trace


class MeasureRequest(Schema):
    """`study` and `ingredients` are files of the run, `folder` is the trial's. The last of `runs` is to the budget."""

    study: str
    ingredients: str
    trial: Trial
    attempt: int
    folder: str
    name: TrainerName
    runs: tuple[TrainedRun, ...]

    def write(self, path: Path) -> None:
        write_atomically(path, self.model_dump_json())


class MeasureAnswer(Schema):
    """The record without what only the whole trial knows, or the faults for which it has none."""

    faults: tuple[str, ...] = ()
    record: Record | None = None
