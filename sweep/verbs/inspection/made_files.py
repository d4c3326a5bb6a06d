"""What the doctor finds in the files that almr makes from the records, and can make again."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.store.run import Run
from sweep.study import InputError, Record, Study
from sweep.study.files import regular
from sweep.study.files.atomic import sha256
from sweep.verbs.inspection.remark import Remark, of_reading
from sweep.verbs.inspection.run_files import text

if TYPE_CHECKING:
    import pandas as pd

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
    import pandas as pd

    from analysis.table import table as tables

    path = run.files.table
    if not os.path.lexists(path) or len(records) != len(run.files.records()) or not records:
        return
    try:
        found = pd.read_csv(io.StringIO(text(path, _anew(path, again))), dtype=str, keep_default_na=False)
    except (InputError, OSError) as error:
        yield from of_reading(path, functools.partial(_raise, error))
        return
    except ValueError:  # pandas derives its own from it
        yield Remark(path, f"not a table: {_anew(path, again)}")
        return
    made = tables.from_records(records.values()).to_csv(index=False)
    wanted = pd.read_csv(io.StringIO(made), dtype=str, keep_default_na=False)
    if not _same(found, wanted):
        yield Remark(path, f"is not the table of the records: write it anew: {again}")


def _anew(path: Path, command: str) -> str:
    """How a file is made again. No command replaces a folder that stands in its place."""
    away = "move it away, then " if path.is_dir() and not path.is_symlink() else ""
    return f"{away}write it anew: {command}"


def _raise(error: Exception, path: Path) -> None:
    raise error


def _same(found: pd.DataFrame, wanted: pd.DataFrame) -> bool:
    shared = [name for name in wanted if name in found and name != "excluded"]
    known = {"trial_id", "almr", "lr", "seed", "status"} <= set(shared)
    return known and len(found) == len(wanted) and bool((found[shared] == wanted[shared]).all(axis=None))


def _of_fit(run: Run, fit: FitFile | None, study: Study | None, again: str) -> Iterator[Remark]:
    """The figures, whose hashes the fit has, and the tables of its scores."""
    from analysis.fit_file.result import language_label
    from analysis.scores import files as score_files

    if fit is None:
        return
    hashed = {run.files.figure(name): digest for name, digest in fit.figures.items()}
    for path, digest in hashed.items():
        if not os.path.lexists(path):
            yield Remark(path, f"is missing: draw it again: {again}")
        yield from of_reading(path, functools.partial(_as_drawn, digest=digest, again=again))
    made = score_files.texts(fit.scores, functools.partial(language_label, study)) if study else {}
    for name, wanted in made.items():
        path = run.folder / name
        if os.path.lexists(path) and _bytes(path) != wanted.encode():
            yield Remark(path, f"is not the table of the fit's scores: {_anew(path, again)}")


def _as_drawn(path: Path, digest: str, again: str) -> None:
    if sha256(path) != digest:
        raise InputError(f"{path}: is not the figure that the fit drew: draw it again: {again}")


def _bytes(path: Path) -> bytes | None:
    try:
        return regular.content(path)
    except (InputError, OSError):
        return None


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
