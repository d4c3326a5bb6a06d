"""The results of parity runs in a run directory, and whether they are of the files that an export writes now."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

from analysis.launch import bundle
from analysis.launch.evidence.parity import SCHEMA_VERSION, ParityFile, ParityResult
from sweep.external.parity import repeat
from sweep.external.parity.repeat import RepeatedTrial
from sweep.external.runs import plan, start
from sweep.store.run import Run
from sweep.study import InputError, Record
from sweep.study.files import reader
from sweep.study.files.trial_files import read_trial
from sweep.study.sections.launch import Format
from sweep.worker.group.node import CODE

PACKING = CODE / "trainers" / "packing"


def read(run: Run) -> ParityFile:
    """The run's `parity.json`; empty where it has none. Raises InputError for one that cannot be read."""
    try:
        return reader.read(run.files.parity, ParityFile, "file of parity runs", SCHEMA_VERSION, "delete it")
    except FileNotFoundError:
        return ParityFile()


def add(run: Run, result: ParityResult) -> None:
    """Keep the newest result of a format."""
    known = read(run).results | {result.name: result}
    run.write(run.files.parity, ParityFile(results=known).model_dump_json(indent=2) + "\n")


def results(run: Run, names: Iterable[Format]) -> tuple[ParityResult, ...]:
    """The newest result of each format, marked where the files of its launch would be other ones now."""
    known = read(run).results
    return tuple(_checked(run, name, known[name]) for name in names if name in known)


def _checked(run: Run, name: Format, result: ParityResult) -> ParityResult:
    record = next((one for one in records(run) if one.trial_id == result.trial_id), None)
    same = False
    with contextlib.suppress(InputError):  # a trial that can no longer be repeated
        same = record is not None and made_from(run, repeated(run, record), name) == result.made_from
    now = start.installed(name)
    other = bool(now and result.trainer and now != result.trainer)  # an export may be written where no trainer is
    return result.model_copy(update={"outdated": not same or other})


def records(run: Run) -> list[Record]:
    return [read_trial(path) for path in run.files.records()]


def repeated(run: Run, record: Record) -> RepeatedTrial:
    """A trial of the run, to be repeated. Raises InputError where this version would train it in another way."""
    study, ingredients = run.study(), run.ingredients()
    if ingredients is None:
        raise InputError(f"{run.shown(run.files.ingredients)}: does not exist: run the study first")
    if record.fingerprint not in {study.fingerprint, *ingredients.recipes}:
        raise InputError(
            f"--parity: {record.trial_id} was trained by another version of almr (fingerprint {record.fingerprint}, "
            f"this one has {study.fingerprint}), so it cannot be repeated: run the study again, under another name"
        )
    return repeat.of_run(study, record, ingredients)


def made_from(run: Run, of: RepeatedTrial, name: Format) -> str:
    """The digest of the files of a format's launch that repeats the trial, as they are written now, and of the code
    that packs its text.
    """
    ingredients, digest = run.ingredients(), hashlib.sha256(_packing())
    assert ingredients  # a trial was repeated with them
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / name
        bundle.write(plan.of_study(of.study, of.trial, name, ingredients.corpora), name, folder)
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
            digest.update(f"{path.relative_to(folder)}\n".encode())
            digest.update(path.read_bytes().replace(str(run.folder).encode(), b"RUN"))
    return digest.hexdigest()[:16]


def _packing() -> bytes:
    """The sources of `trainers/packing`, with the version of its files in pack.py."""
    return b"".join(path.read_bytes() for path in sorted(PACKING.glob("*.py")))
