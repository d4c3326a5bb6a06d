"""`chain.json`: what a chain has done so far, in the folder of its name. Its stages are runs beside it."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from sweep.store.run import Run
from sweep.store.storage import named
from sweep.study import InputError, PerLanguage
from sweep.study.fields import Schema
from sweep.study.files import reader
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import RunFiles

VERSION = 1
AGAIN = "delete it and run the chain again: stages that ended are kept"


class StageResult(Schema):
    """A stage that ended. `began_with` is the fingerprint of the model that it continued from, `model` the folder of
    what it left: that of `trial`, the best one. Losses are of the stage's own held-out rows.
    """

    stage: str
    run: str
    trial: str
    model: str
    began_with: str
    languages: dict[str, str] = Field(default_factory=dict)
    base_loss: PerLanguage = PerLanguage()
    loss: PerLanguage = PerLanguage()


class ChainRecord(Schema):
    """`planned`: all stages, by their runs. `model`: what the first continues from; `before`: what the launch that left
    it continued from.
    """

    schema_version: int = VERSION
    name: str
    planned: dict[str, str]
    model: str | None = None
    before: str | None = None
    stages: tuple[StageResult, ...] = ()

    @property
    def models(self) -> dict[str, str]:
        """The models by their labels, the first one first: base, cpt, sft, dpo."""
        first = {"base": self.before, "cpt": self.model} if self.before else {"base": self.model}
        return {name: model for name, model in first.items() if model} | {one.stage: one.model for one in self.stages}


def write(home: Run, record: ChainRecord) -> None:
    write_atomically(home.files.chain, record.model_dump_json(indent=2))


def folders(name: str, runs: str) -> tuple[Path, Path]:
    """Where the chain of this name, or of this folder, may be."""
    return Path(name), Path(str(named(runs, name)))


def read(folder: Path) -> ChainRecord | None:
    """None where the folder is no chain's. Raises InputError for a broken file."""
    if not os.path.lexists(path := RunFiles(folder).chain):
        return None
    try:
        return reader.read(path, ChainRecord, "record of a chain", VERSION, AGAIN)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): correct that") from None
