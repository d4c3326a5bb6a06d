"""The folder of a fit: what a fit replaces there, and what it does not leave of an earlier one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from analysis.fit_file.fit_file import FitFile, read_fit
from analysis.fit_file.result import FitResult
from analysis.scores import files as score_files
from sweep.study import InputError
from sweep.study.files.atomic import sha256
from sweep.study.files.layout import RunFiles

HEAD_BYTES = 4096
MARKS = {  # what stands in the head of each file as a fit writes it
    "trials.csv": b"trial_id,almr,almr_achieved,lr",
    "fit.json": b'"schema_version"',
    "surfaces.json": b'"schema_version"',
    "report.html": b'name="fit-sha256"',
}


def refuse_foreign(folder: Path | None, table: Path) -> None:
    """Raises InputError, before the fit, where its files would replace those of a run, the table itself, or others that
    no fit wrote.
    """
    files = RunFiles(folder) if folder else None
    if files is None:
        return
    if files.records():  # a study.yaml, or a folder of that name, may be beside any table
        raise InputError(
            f"--out {folder}: it holds trials/, as a run does, whose fit would be lost: name another folder"
        )
    for path, mark in [(files.folder / name, mark) for name, mark in MARKS.items()]:
        if path.is_file() and (path.samefile(table) or not _begins_with(path, mark)):
            what = "is the table" if path.samefile(table) else "is not of almr fit"
            raise InputError(f"--out {folder}: its {path.name} {what}, and would be lost: name another folder")


def _begins_with(path: Path, mark: bytes) -> bool:
    """Whether a file has the mark in its head; an empty one holds nothing to lose."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return mark in head or not head.strip(b"\0 \r\n")


def remove_earlier(folder: Path, fitted: FitResult) -> None:
    """Remove the figures and tables of scores that an earlier fit wrote in the folder and this one did not: they would
    be taken for its own. What was changed since is the user's, and stays.
    """
    try:
        earlier = read_fit(folder)
    except (OSError, InputError):  # none, or one that does not tell what it wrote
        return
    for path in [*_other_figures(folder, earlier, fitted.file), *_other_scores(folder, earlier, fitted)]:
        path.unlink()


def _other_figures(folder: Path, earlier: FitFile, now: FitFile) -> Iterator[Path]:
    for name in earlier.figures.keys() - now.figures.keys():
        path = RunFiles(folder).figure(name)
        own = Path(name).name == name  # a name is what a file says, and may lead anywhere
        if own and path.is_file() and sha256(path) == earlier.figures[name]:
            yield path


def _other_scores(folder: Path, earlier: FitFile, fitted: FitResult) -> Iterator[Path]:
    if fitted.file.scores:
        return
    for name, text in score_files.texts(earlier.scores, fitted.label).items():
        path = folder / name
        if path.is_file() and path.read_bytes() == text.encode():
            yield path
