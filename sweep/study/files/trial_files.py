"""Reading the files of a trial, its record and its request, which have to be of the trial that their folder names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sweep.study.errors import InputError, shown
from sweep.study.files import reader
from sweep.study.record import REQUEST_VERSION, SCHEMA_VERSION, Record, TrialRequest

RUN_AGAIN, REQUEST_AGAIN = "delete it to run the trial again", "delete it to request the trial again"
LARGEST_LOSS = 1e6  # nats per token: anything over it is a placeholder or an overflow
COUNTS = ("attempt", "tokens", "steps", "trained_tokens", "peak_memory_bytes")
MEASURES = ("almr_achieved", "seconds", "training_seconds", "tokens_per_second", "mfu", "gpu_hours")
LOSSES = ("loss", "base_loss", "bits_per_byte", "base_bits_per_byte")


def read_record(path: Path) -> Record:
    """Read a record. Raises FileNotFoundError, and InputError naming a file that is no record of this version, or whose
    numbers nothing can have measured.
    """
    record = reader.read(path, Record, "record", SCHEMA_VERSION, RUN_AGAIN)
    if fault := next(_impossible(record), None):
        raise InputError(f"{path}: not a record ({fault}); {RUN_AGAIN}")
    return record


def read_trial(path: Path) -> Record:
    """The record of the trial whose folder it lies in. Raises as `read_record`, and InputError naming both trials."""
    record = read_record(path)
    _refuse_other(path, "record", record.trial_id, record.trial.id)
    return record


def read_request(path: Path) -> TrialRequest | None:
    """The `trial.json` in a trial's folder; None where the trial was never requested. Raises InputError where it cannot
    be read, or is of another trial.
    """
    try:
        request = reader.read(path, TrialRequest, "trial request", REQUEST_VERSION, REQUEST_AGAIN)
    except FileNotFoundError:
        return None
    _refuse_other(path, "request", request.trial.id)
    return request


def _refuse_other(path: Path, what: str, *ids: str) -> None:
    """A copy of a folder would count its trial twice, and the name in a record is no path to be followed."""
    if other := next((one for one in ids if one != path.parent.name), None):
        raise InputError(
            f"{path}: the {what} is of trial {other[:60]!r}, but its folder is named {path.parent.name!r}: if the "
            f"folder is a copy, move it out of trials/, else delete the file"
        )


def _impossible(record: Record) -> Iterator[str]:
    """What no trial can have measured, a fault each. The reader has refused what is not finite."""
    numbers = {name: getattr(record, name) for name in (*COUNTS, *MEASURES)}
    numbers |= {f"{name}.{part}": value for name in (*LOSSES, "epochs") for part, value in getattr(record, name)}
    parts = {f"sources.{name}": one for name, one in record.sources.items()}
    numbers |= {f"{at}.{name}": getattr(one, name) for at, one in parts.items() for name in (*LOSSES, "epochs")}
    for number, horizon in enumerate(record.horizons):
        numbers |= {f"horizons[{number}].loss.{part}": value for part, value in horizon.loss}
    for name, value in numbers.items():
        if value is not None and value < 0:
            yield f"{name} is {shown(value)}: cannot be negative"
        elif value is not None and value > LARGEST_LOSS and any(loss in name for loss in LOSSES):
            yield f"{name} is {shown(value)}: too large to be one"
