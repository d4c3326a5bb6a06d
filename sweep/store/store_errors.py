"""What went wrong with an object store, as one line, and whether it may pass by itself. Each store's library has errors
of its own: their names and the standard library's classes decide.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sweep.study import InputError
from sweep.study.errors import one_line
from sweep.study.files import disk

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
log = logging.getLogger(__name__)
RUNNING_SECONDS = 600.0  # for which a sweep waits for a store that fails; a command that only reads does not wait
FIRST_SECONDS, MOST_SECONDS = 1.0, 30.0  # between two tries
WITHOUT_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "ProfileNotFound"}
KEPT = "run the same command again once it answers: finished trials are kept"


class StoreError(InputError):
    """An object store that cannot be read or written: its address, what it answered, and what to do."""


class WaitingFor(Protocol):
    address: str
    folder: Path
    patience: float
    waiting: Callable[[], None]


def explained(error: Exception, address: str, waited: float = 0.0) -> StoreError:
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & WITHOUT_CREDENTIALS:
        return StoreError(f"{address}: no credentials for the store ({one_line(error)}): set them, or name a profile")
    if isinstance(error, PermissionError):
        return StoreError(f"{address}: the store refuses access ({one_line(error)}): check its credentials and rights")
    if isinstance(error, FileNotFoundError):
        return StoreError(f"{address}: not in the store ({one_line(error)}): make the bucket, or correct the address")
    after = f" for {waited / 60:.0f} min" if waited >= 60 else ""
    return StoreError(f"{address}: reading or writing the store failed{after} ({one_line(error)}): {KEPT}")


def passes(error: Exception) -> bool:
    """Whether a store may answer the same request later: it was busy, out of reach, or broken for a while."""
    names = {kind.__name__ for kind in type(error).__mro__}
    wrong = names & WITHOUT_CREDENTIALS or "ParamValidationError" in names
    return not (wrong or isinstance(error, FileNotFoundError | PermissionError | TypeError | AttributeError))


Of = TypeVar("Of", bound=WaitingFor)


def patient(
    call: Callable[Concatenate[Of, Arguments], Result],
) -> Callable[Concatenate[Of, Arguments], Result]:
    """Call again what failed, for `patience` seconds of its object, and say so. Raises StoreError, or OSError where
    the disk of this machine is at fault.
    """

    @functools.wraps(call)
    def patiently(this: Of, /, *arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        began, pause = time.monotonic(), FIRST_SECONDS
        while True:
            try:
                return call(this, *arguments, **options)
            except InputError:
                raise
            except Exception as error:
                _give_up(error, this, time.monotonic() - began, pause)
            this.waiting()
            time.sleep(pause)
            pause = min(2 * pause, MOST_SECONDS)

    return patiently


def _give_up(error: Exception, this: Any, waited: float, pause: float) -> None:
    """Raises for an error that waiting does not mend, or that was waited for long enough; else says that it waits."""
    fault = disk.fault(error, this.folder) if isinstance(error, OSError) else None
    if fault and Path(str(fault.filename)).is_relative_to(this.folder):
        raise fault from error
    if not passes(error) or waited + pause > this.patience:
        raise explained(error, this.address, waited) from error
    if pause == FIRST_SECONDS:
        log.warning("%s: the store fails (%s): waiting for it, up to %.0f min", this.address, one_line(error, 100),
                    this.patience / 60)  # fmt: skip
