"""What the doctor finds in the files that almr makes from the records, and can make again."""

from __future__ import annotations

import csv
import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.store.run import Run
from sweep.study import InputError, Record, Study
from sweep.study.files import reader
from sweep.study.files.atomic import sha256
from sweep.study.tables import written
from sweep.verbs.inspection import same_content
from sweep.verbs.inspection.remark import Remark, of_reading
from sweep.verbs.inspection.run_files import text

if TYPE_CHECKING:
    from analysis.fit_file.fit_file import FitFile


def examine(run: Run, study: Study | None, records: Mapping[str, Record]) -> Iterator[Remark]:
    """`study`: None where it cannot be read. `records`: the sound ones."""
    yield from of_reading(run.files.fit, lambda path: _fit(run))
    fit, again = _sound_fit(run), f"almr fit {run.address}"
    old = _changes(run, study, fit)
    if old:
        yield Remark(run.files.fit, f"is out of date: {', and '.join(old)}: {again}", False)
    elif study:
        yield from _table(run, study, records, again)
    yield from _of_fit(run, fit, study, again)
    yield from _report(run)
    yield from _launch(run)
    yield from _outdated(run)


def _fit(run: Run) -> FitFile:
    from analysis.fit_file.fit_file import read_fit

    return read_fit(run.folder, _anew(run.files.fit, f"almr fit {run.address}"))


def _sound_fit(run: Run) -> FitFile | None:
    try:
        return _fit(run)
    except (InputError, OSError):
        return None


def _changes(run: Run, study: Study | None, fit: FitFile | None) -> list[str]:
    from analysis.fit.load import changes

    try:
        return changes(fit, study, run.files) if fit and study else []
    except (InputError, OSError):  # of a file that has a remark of its own
        return []


def _table(run: Run, study: Study, records: Mapping[str, Record], again: str) -> Iterator[Remark]:
    """A table that is not that of the records. Columns that another version writes are passed over."""
    from analysis.table import table as tables

    path = run.files.table
    if not os.path.lexists(path) or len(records) != len(run.files.records()) or not records:
        return
    wanted = written.csv(tables.from_records(records.values()))
    try:
        found = text(path, _anew(path, again))
        if not same_content.of_csv(found, wanted, same_content.OF_TRIALS, but=("excluded",)):
            yield Remark(path, f"is not the table of the records: write it anew: {again}")
    except (InputError, OSError) as error:
        yield from of_reading(path, functools.partial(_raise, error))
    except csv.Error:
        yield Remark(path, f"not a table: {_anew(path, again)}")


def _anew(path: Path, command: str) -> str:
    """How a file is made again. No command replaces a folder that stands in its place."""
    away = "move it away, then " if path.is_dir() and not path.is_symlink() else ""
    return f"{away}write it anew: {command}"


def _raise(error: Exception, path: Path) -> None:
    raise error


def _of_fit(run: Run, fit: FitFile | None, study: Study | None, again: str) -> Iterator[Remark]:
    """The figures and surfaces, whose hashes the fit has, and the tables of its scores."""
    from analysis.fit_file.result import language_label
    from analysis.scores import files as score_files

    if fit is None:
        yield from of_reading(run.files.surfaces, functools.partial(_surfaces, again=again))
        return
    for name, digest in fit.figures.items():
        yield from _as_fitted(run.files.figure(name), digest, "the figure that the fit drew", again)
    if fit.surfaces:
        yield from _as_fitted(run.files.surfaces, fit.surfaces, "what the fit wrote", again)
    made = score_files.texts(fit.scores, functools.partial(language_label, study)) if study else {}
    for name, wanted in made.items():
        path = run.folder / name
        if os.path.lexists(path) and not _says(path, wanted):
            yield Remark(path, f"is not the table of the fit's scores: {_anew(path, again)}")


def _as_fitted(path: Path, digest: str, what: str, again: str) -> Iterator[Remark]:
    """A file of which the fit has the hash."""

    def compare(path: Path) -> None:
        if sha256(path) != digest:
            raise InputError(f"{path}: is not {what}: {_anew(path, again)}")

    if os.path.lexists(path):
        yield from of_reading(path, compare)
    else:
        yield Remark(path, f"is missing: write it anew: {again}")


def _says(path: Path, wanted: str) -> bool:
    """Whether a table of scores, in CSV or Markdown, has the content of `wanted`."""
    try:
        found = text(path, "")
        if path.suffix == ".csv":
            return same_content.of_csv(found, wanted, same_content.OF_SCORES)
        return same_content.of_markdown(found, wanted)
    except (InputError, OSError, csv.Error):
        return False


def _surfaces(path: Path, again: str) -> None:
    from analysis.fit.grid import SCHEMA_VERSION, SurfaceGrid

    reader.read(path, SurfaceGrid, "grid of surfaces", SCHEMA_VERSION, _anew(path, again))


def _report(run: Run) -> Iterator[Remark]:
    again = _anew(run.files.report, f"almr report {run.address}")

    def read(path: Path) -> None:
        page = text(path, again)
        if not page.rstrip().endswith("</html>") or page.count("</html>") > 1:
            raise InputError(f"{path}: is not one whole page; {again}")

    yield from of_reading(run.files.report, read)


def _launch(run: Run) -> Iterator[Remark]:
    """A bundle whose list of files cannot be read, or whose files are gone or changed since the export."""
    from analysis.launch.evidence import evidence

    folder, again = run.files.launch, f"almr export {run.address}"
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        yield Remark(folder, "is not a folder: move it away, then export again")
        return
    try:
        known = evidence.written(folder)
    except InputError as error:
        yield from of_reading(run.files.evidence, functools.partial(_raise, error))
        return
    if known is None:
        yield Remark(run.files.evidence, f"cannot be read: move {folder.name}/ away, then export again: {again}")
        return
    yield from _changed(folder, known["files"], again)


def _changed(folder: Path, files: Mapping[str, object], again: str) -> Iterator[Remark]:
    for name, digest in sorted(files.items()):
        path = folder / name
        if not os.path.lexists(path):
            yield Remark(path, f"is missing: export again: {again}")
            continue
        try:
            if sha256(path) != digest:
                yield Remark(path, f"was changed since the export: export again if that was not you: {again}", False)
        except (InputError, OSError):
            yield Remark(path, f"is no file that can be read: export again: {again}")


def _outdated(run: Run) -> Iterable[Remark]:
    from analysis.fit_file.outdated import outdated

    try:
        lines = outdated(run.folder, run.address)
    except (InputError, OSError):
        return
    for line in lines:
        name, _, rest = line.partition(" ")
        yield Remark(run.folder / name.rstrip("/"), rest, False)
