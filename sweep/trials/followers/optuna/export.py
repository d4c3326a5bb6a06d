"""`almr export RUN --format optuna`: the trials of a run and its result as an Optuna storage of its own."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.store.run import Run
from sweep.study import InputError
from sweep.study.files import unfinished
from sweep.study.sections.resources import SQLITE
from sweep.trials.followers import result
from sweep.trials.followers.optuna.storage import OptunaStorage, refuse_unopenable, refused
from sweep.trials.progress import RunProgress

FORMAT = "optuna"


@dataclass(frozen=True)
class ExportedStorage:
    """A storage that was written, with its number of trials."""

    path: Path
    trials: int

    @property
    def text(self) -> str:
        url = shlex.quote(f"{SQLITE}{self.path}")
        return f"Optuna storage: {self.path} ({self.trials} trials). To look at it: optuna-dashboard {url}"

    def as_json(self) -> dict[str, Any]:
        return {"optuna": str(self.path), "url": f"{SQLITE}{self.path}", "trials": self.trials}


def export(run: Run, folder: Path | None, tell: Callable[[str], None]) -> ExportedStorage:
    """Write `optuna.db` into the folder, by default the run's, with every trial that has ended and, where the run was
    fitted, its winner. Raises InputError without a trial that has ended.
    """
    path = (folder / run.files.optuna.name if folder else run.files.optuna).absolute()
    count = _write(run, path, _facts(run, tell))
    run.share()
    return ExportedStorage(path, count)


def _facts(run: Run, tell: Callable[[str], None]) -> dict[str, Any]:
    """The result, where there is one that belongs to the run as it is now."""
    if not run.files.fit.is_file():
        return {}
    from analysis.fit.load import load_fit
    from analysis.report.answer import answer

    try:
        fitted = load_fit(run.study(), run.folder, run.address)
    except InputError as error:
        tell(f"the storage has no winner: {error}")
        return {}
    return result.of_fit(fitted, answer(fitted, run.folder, run.address).word)


def _write(run: Run, path: Path, facts: Mapping[str, Any]) -> int:
    """A new file appears whole; one that is there is brought up to date, so that a dashboard that has it open sees it.
    Returns the number of trials.
    """
    study = run.study()
    records = RunProgress.of(study, run).records
    if not records:
        raise InputError(f"{run.address}: no finished trials: run the study first, almr run STUDY")
    refuse_unopenable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    place = path if path.exists() else unfinished.beside(path)
    storage = OptunaStorage(f"{SQLITE}{place}", study, run)
    with contextlib.closing(storage), refused(str(path)):
        if place != path:
            storage.unsafe()
        storage.sync(records)
        storage.describe(facts)
    place.replace(path)
    return len(records)
