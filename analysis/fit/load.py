"""A run directory in Python: its study, its trials, and what was fitted to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.fit_file.fit_file import FitFile, read_fit
from analysis.fit_file.inputs import FitInputs
from analysis.fit_file.result import FitResult
from analysis.table import table as tables
from sweep.study import InputError, Record, Study, study_file
from sweep.study.files.atomic import sha256
from sweep.study.files.layout import RunFiles
from sweep.study.files.trial_files import read_trial


@dataclass(frozen=True)
class LoadedRun:
    """A run directory as it was read.

    `table` has one row per trial, ordered by (seed, almr, lr): losses in nats per token, `excluded` says why a row is
    not fitted (see analysis.table). `records` are the trials' records in full, by name. `fit` is the content of
    `fit.json`, None where the run was never fitted. `changes` says what changed after the fit, a sentence each; where
    it is empty, `fit` belongs to the run as it is now.
    """

    folder: Path
    study: Study
    table: pd.DataFrame
    records: tuple[Record, ...]
    fit: FitFile | None
    changes: tuple[str, ...] = ()


def load_run(folder: str | Path) -> LoadedRun:
    """Read a run directory, such as `runs/demo`. Fits and writes nothing.

    Raises InputError where the folder is no run, has no finished trial, or holds a file that cannot be read (the
    message names it), also one of a newer version of almr-sweep.
    """
    files = RunFiles(Path(folder))
    if not files.study.is_file():
        raise InputError(f"{folder}: not a run: a run is a folder with study.yaml")
    study = study_file.load(files.study)
    table = tables.of_run(files.folder, study)
    records = tuple(read_trial(path) for path in files.records())
    fit = read_fit(files.folder) if files.fit.is_file() else None
    changed = tuple(changes(fit, study, files)) if fit else ()
    return LoadedRun(folder=files.folder, study=study, table=table, records=records, fit=fit, changes=changed)


def load_fit(study: Study, run: Path, address: str) -> FitResult:
    """Read the fit of a run from `fit.json`, with the table that it was made from. Fits nothing.

    `address` is the run as messages name it. Raises FileNotFoundError where it was never fitted, and InputError where
    `fit.json` cannot be read, or does not belong to the records and the study as they are now.
    """
    again = f"almr fit {address}"
    file = read_fit(run, f"write it anew: {again}")
    table = tables.of_run(run, study)
    files = RunFiles(run)
    if found := changes(file, study, files):  # after the table was read: what changes meanwhile is seen
        raise InputError(
            f"{address}/{files.name(files.fit)} is out of date: {', and '.join(found)}; fit again: {again}"
        )
    return FitResult(table=table, file=file, study=study)


def load_same(study: Study, run: Path) -> FitResult | None:
    """The fit of a run where fitting again would find the same and write the same files; None where it might not."""
    files = RunFiles(run)
    try:
        file = read_fit(run)
    except (OSError, InputError):
        return None
    now = FitInputs.of_run(study, run)
    written = {files.figure(name): digest for name, digest in file.figures.items()} | {files.surfaces: file.surfaces}
    drawn = all(path.is_file() and sha256(path) == digest for path, digest in written.items())
    if file.inputs != now or not drawn or not files.table.is_file():
        return None
    return FitResult(table=tables.of_run(run, study), file=file, study=study)


def changes(file: FitFile, study: Study, files: RunFiles) -> list[str]:
    """What changed in a run after it was fitted, a sentence each; empty where nothing did."""
    if file.inputs is None:
        return ["an earlier version of almr-sweep wrote it, without the hashes of its records"]
    return file.inputs.changes(FitInputs.of_run(study, files.folder))
