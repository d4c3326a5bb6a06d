"""What ends a sweep before its trials are done: storage that refuses a file, a base model that a trial has changed, or
an error of ours in a call by Ray Tune.

Trials without a record stay as they are: the next `almr run` goes on with them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray import tune

from sweep.external.trial.job import SpoiledModelError
from sweep.store.store_errors import StoreError
from sweep.study import InputError
from sweep.study.files import disk

STOPPED = "stopped"  # in the result of a trial that storage has ended: what is wrong with it


class Stopping(tune.Stopper):
    """Keeps the first error; Tune then ends all trials, and `raise_noted` raises it. Tune itself would print an error
    in its callbacks with hundreds of lines.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.error is not None

    def note(self, error: Exception) -> None:
        self.error = self.error or error

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.note(error)

    def raise_noted(self) -> None:
        if self.error:
            raise self.error

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()  # Tuner pickles it for a restore that we never use

    def __deepcopy__(self, memo: dict[int, Any]) -> Stopping:
        return self

    def __copy__(self) -> Stopping:
        return self


def of_worker(error: BaseException, place: Path) -> dict[str, Any] | None:
    """The result of a trial that ended for a fault which every other trial would meet too; None for other errors."""
    found = disk.fault(error, place)
    if found and found.errno in disk.REFUSING:
        return {"status": STOPPED, STOPPED: [found.errno, found.strerror, found.filename]}
    told = isinstance(error, StoreError | SpoiledModelError)
    return {"status": STOPPED, STOPPED: [str(error)]} if told else None


def told(result: dict[str, Any]) -> Exception | None:
    """The error that a trial's result tells of."""
    what = result.get(STOPPED)
    return None if what is None else InputError(*what) if len(what) == 1 else OSError(*what)
