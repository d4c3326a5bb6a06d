"""What the doctor finds in the files of a run that lie beside its trials."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sweep.store import lock, provenance
from sweep.store.lock import UNREADABLE
from sweep.store.run import Run
from sweep.study import InputError, study_file
from sweep.study.files import reader, regular, unfinished
from sweep.study.files.atomic import sha256
from sweep.study.files.layout import (
    CONFIRMATION_RESULT,
    CONFIRMATION_RUNS,
    PREVIOUS_EVIDENCE,
    RECORD,
    SAVED_MODELS_LOCK,
    ScoreFiles,
)
from sweep.study.ingredients import read_ingredients, read_search
from sweep.verbs.inspection.remark import Remark, of_reading

RENEWED = "the next almr run writes it anew"
OURS = (".mirror.json", SAVED_MODELS_LOCK)
LEFT = re.compile(  # as earlier versions named them
    r"^\.(?!\.).+\.(?:[a-z0-9_]{8}|(?:old|unfinished)-(?:[0-9a-f]{8}-)?\d+)$"
)


def examine(run: Run) -> Iterator[Remark]:
    files = run.files
    yield from _study(files.study)
    yield from _ingredients(run)
    yield from of_reading(files.search, read_search)
    yield from of_reading(files.provenance, _json(RENEWED, "code_sha256"))
    yield from of_reading(files.parity, _parity)
    for path, read in _scores(run):
        yield from of_reading(path, read)
    yield from examine_gains(run)
    yield from of_reading(files.confirmation / CONFIRMATION_RESULT, lambda _: _judgement(run.folder))
    yield from of_reading(files.confirmation / CONFIRMATION_RUNS, functools.partial(_results, run.folder))
    yield from of_reading(files.confirmation / PREVIOUS_EVIDENCE, _json("restore it, or delete it", "files", "links"))
    yield from _lock(run)
    yield from _code(run)
    yield from _left_over(run)


def text(path: Path, remedy: str) -> str:
    """The text of a file. Raises InputError for what is no text in UTF-8, or empty."""
    content = regular.content(path, remedy)
    if not content.strip(b"\0 \r\n\t"):
        raise InputError(f"{path}: is empty; {remedy}")
    try:
        found = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start:,}; {remedy}") from None
    if "\0" in found:
        raise InputError(f"{path}: holds zero bytes, as a crash leaves them; {remedy}")
    return found


def _study(path: Path) -> Iterator[Remark]:
    if not os.path.lexists(path):
        yield Remark(path, "is missing: copy the study file there")
    yield from of_reading(path, lambda path: regular.content(path, "copy the study file there"))
    if path.is_file():
        yield from of_reading(path, study_file.load)


def _ingredients(run: Run) -> Iterator[Remark]:
    """They are written before the first trial, and a launch is made from them. A replay without a launch has none."""
    path = run.files.ingredients
    if not os.path.lexists(path) and run.files.records() and not _needs_none(run):
        yield Remark(path, "is missing: restore it; or run the study again, which writes a new one")
    yield from of_reading(path, read_ingredients)


def _needs_none(run: Run) -> bool:
    with contextlib.suppress(InputError, OSError):
        study = run.study()
        return bool(study.replay and not study.launch)
    return False


def _json(remedy: str, *fields: str) -> Callable[[Path], Any]:
    """A reader of an object of JSON that has these fields."""

    def read(path: Path) -> None:
        content = reader.parse(path, "JSON file", remedy)
        if not isinstance(content, dict):
            raise InputError(f"{path}: not an object of JSON; {remedy}")
        if lost := [name for name in fields if name not in content]:
            raise InputError(f"{path}: has no {lost[0]}; {remedy}")

    return read


def _parity(path: Path) -> None:
    from analysis.launch.evidence.parity import SCHEMA_VERSION, ParityFile

    reader.read(path, ParityFile, "file of parity runs", SCHEMA_VERSION, "delete it")


def _scores(run: Run) -> Iterator[tuple[Path, Callable[[Path], Any]]]:
    from analysis.scores import read as scores

    base = run.files.base
    for path, kind in ((base.scores, scores.SCORES), (base.failures, scores.FAILURES)):
        yield path, functools.partial(scores.parsed, kind=kind)
    for path in (base.questions, *(files.questions for files in run.files.each_trial())):
        yield path, functools.partial(scores.parsed, kind=scores.QUESTIONS)


def examine_gains(run: Run) -> Iterator[Remark]:
    for path, read in _gains(run):
        yield from of_reading(path, read)


def _gains(run: Run) -> Iterator[tuple[Path, Callable[[Path], Any]]]:
    """The records of scored models, their questions, and the table."""
    from analysis.scores import read as scores
    from analysis.scores.gains import gains_file, model_record

    folder = run.files.gains
    yield folder / gains_file.NAME, lambda path: gains_file.read(path.parent)
    for path in sorted(folder.glob(f"*/{RECORD}")):
        yield path, lambda path: model_record.read(path.parent)
        yield ScoreFiles(path.parent).questions, functools.partial(scores.parsed, kind=scores.QUESTIONS)


def _judgement(run: Path) -> str | None:
    """The sha256 of the table that was judged."""
    from analysis.launch.confirm import result

    found = result.read(run)
    return found.results_sha256 if found else None


def _results(run: Path, path: Path) -> None:
    remedy = "restore it, or confirm again with your own copy"
    text(path, remedy)
    judged = None
    with contextlib.suppress(InputError):  # of the judgement, which has a remark of its own
        judged = _judgement(run)
    if judged and judged != sha256(path):
        raise InputError(f"{path}: is not the table that was judged; {remedy}")


def _lock(run: Run) -> Iterator[Remark]:
    file, path = run.lock_file(), run.files.lock
    try:
        owner = lock.owner_of(file)
    except (InputError, OSError):
        yield Remark(path, f"not a lock file of this version: {UNREADABLE}")
        return
    if owner and not lock.is_alive(owner):
        yield Remark(path, f"is of {owner}, which has ended or is silent: the next almr run takes it over", False)


def _code(run: Run) -> Iterator[Remark]:
    """Workers import the snapshot; a driver makes a new one whenever it trains."""
    stated, folder = run.code_sha256(), run.files.code
    if os.path.lexists(folder) and not folder.is_dir():
        yield Remark(folder, f"is not a folder: {RENEWED}")
    if name := provenance.foreign(folder):
        yield Remark(folder, f"holds {name}, which almr did not write: move it away: {RENEWED}")
        return
    if run.mirror or not folder.is_dir() or stated is None:
        return
    try:
        found = provenance.code_sha256(folder)
    except (InputError, OSError) as error:
        yield Remark(folder, f"{error}".partition(": ")[2] + f": {RENEWED}")
        return
    if found != stated:
        yield Remark(folder, f"is not the code whose sha256 is in {run.files.provenance.name}: {RENEWED}")


def _left_over(run: Run) -> Iterator[Remark]:
    """What a killed process had begun to write. A driver that runs may be writing it now."""
    if run.driver():
        return
    for place, folders, names in os.walk(run.folder):
        left = (name for name in (*folders, *names) if name not in OURS)
        named = [name for name in left if unfinished.NAMED.match(name) or LEFT.match(name)]
        found = [name for name in named if not unfinished.is_being_written(name)]  # as by an export, which has no lock
        folders[:] = [name for name in folders if not name.startswith(".") and name not in ("code", "checkpoint")]
        for name in found:
            yield Remark(Path(place, name), "was left by a process that was killed: delete it", False)
