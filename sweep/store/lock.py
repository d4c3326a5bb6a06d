"""One driver at a time on one run: a lock file that names its owner, whose beat in it says that he lives.

File locks of the operating system are not to be relied on over NFS, and object stores have none. Creating a file only
where there is none is atomic on all of them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pydantic

from sweep.store.owner import Owner
from sweep.study.errors import InputError

BEAT_SECONDS = 30.0
STALE_SECONDS = 300.0  # ten beats, and far more than clocks of one cluster differ


class LockFile(Protocol):
    """A file on some storage. `settle_seconds`: how long two that create it at once may both believe they did."""

    settle_seconds: float

    def create(self, text: str) -> None:
        """Raises FileExistsError where it exists."""

    def read(self) -> str | None: ...

    def replace(self, text: str) -> None: ...

    def remove(self) -> None: ...

    def __str__(self) -> str: ...


@contextlib.contextmanager
def held(file: LockFile, what: str) -> Iterator[None]:
    """Hold `file` while the block runs. Raises InputError naming the owner where another driver has it.

    A driver that was silent for so long that another took its lock is interrupted at its next beat.
    """
    owner = Owner.here()
    _take(file, owner, what)
    heart = _Heart(file, owner)
    heart.start()
    try:
        yield
    except KeyboardInterrupt:
        if heart.lost_to:
            raise InputError(
                f"{what}: {heart.lost_to} has taken this run over, since nothing was heard from here for "
                f"{STALE_SECONDS / 60:g} min; leave it to that driver, or stop it there first"
            ) from None
        raise
    finally:
        heart.stop()
        if not heart.lost_to and (found := _owner(file)) and found.token == owner.token:
            file.remove()


def holder(file: LockFile) -> Owner | None:
    """The driver that holds the lock; None where there is none, or where it is dead, silent or of another version."""
    with contextlib.suppress(InputError):
        owner = _owner(file)
        return owner if owner and not owner.is_gone() and owner.silent_seconds < STALE_SECONDS else None
    return None


def _take(file: LockFile, owner: Owner, what: str) -> None:
    try:
        file.create(owner.model_dump_json())
    except FileExistsError:
        other = _owner(file)
        if other and not other.is_gone() and other.silent_seconds < STALE_SECONDS:
            raise InputError(_refusal(what, other, file)) from None
        file.replace(owner.model_dump_json())
        time.sleep(max(file.settle_seconds, 1.0))  # others may replace it at this moment: the last one holds it
    else:
        time.sleep(file.settle_seconds)
    other = _owner(file)
    if other is None or other.token != owner.token:
        raise InputError(_refusal(what, other, file))


def _refusal(what: str, other: Owner | None, file: LockFile) -> str:
    if other is None:
        return f"{what}: another driver was starting or ending at this moment ({file}); try again"
    silent, minutes = max(0.0, other.silent_seconds), STALE_SECONDS / 60
    return (
        f"{what}: another driver is running this study: {other}, last heard of {silent:.0f} s ago; wait for it, or "
        f"stop it there. If it is dead: it is replaced {minutes:g} min after its last sign of life, or now if {file} "
        f"is deleted"
    )


def _owner(file: LockFile) -> Owner | None:
    text = file.read()
    if text is None:
        return None
    try:
        return Owner.model_validate_json(text)
    except pydantic.ValidationError:
        raise InputError(f"{file}: not a lock file of this version; delete it if no other driver is running") from None


class _Heart(threading.Thread):
    """Refreshes the beat; `lost_to` is set, and the main thread interrupted, once another driver has the lock."""

    def __init__(self, file: LockFile, owner: Owner) -> None:
        super().__init__(name="almr-lock", daemon=True)
        self.file, self.owner = file, owner
        self.lost_to: Owner | None = None
        self.ended = threading.Event()

    def stop(self) -> None:
        self.ended.set()
        self.join()

    def run(self) -> None:
        while not self.ended.wait(BEAT_SECONDS) and not self.lost_to:
            try:
                self._beat()
            except Exception as error:  # storage that is away for a while must not end the run
                logging.getLogger(__name__).warning("the beat of %s failed: %s", self.file, error)
        if self.lost_to:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # wakes it from a wait too

    def _beat(self) -> None:
        text = self.owner.model_copy(update={"beat": datetime.now(UTC)}).model_dump_json()
        found = _owner(self.file)
        if found is None:
            self.file.create(text)
        elif found.token == self.owner.token:
            self.file.replace(text)
        else:
            self.lost_to = found


class LocalLockFile:
    """On a local disk or NFS: the file appears whole, by a link, or with O_EXCL where there are no links."""

    settle_seconds = 0.0

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def create(self, text: str) -> None:
        whole = self._written(text)
        try:
            os.link(whole, self.path)
        except FileExistsError:
            raise
        except OSError:
            with self.path.open("x", encoding="utf-8") as opened:
                opened.write(text)
        finally:
            whole.unlink()

    def read(self) -> str | None:
        try:
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def replace(self, text: str) -> None:
        self._written(text).replace(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _written(self, text: str) -> Path:
        path = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        path.write_text(text, encoding="utf-8")
        return path
