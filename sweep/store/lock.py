"""One driver at a time per run: a lock file that names its owner and holds the owner's heartbeat.

File locks of the operating system are unreliable over NFS, and object stores have none. Creating a file only where
none exists is atomic on all of them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pydantic

from sweep.store.interruption import interrupt_main_thread
from sweep.store.owner import Owner
from sweep.store.remote import RemoteLockFile
from sweep.study import InputError
from sweep.study.files import regular, unfinished
from sweep.study.files.atomic import write_atomically
from sweep.study.numbers import clock

LARGEST_BYTES = 10**5
UNREADABLE = "delete it if no other driver is running"
HEARTBEAT_SECONDS = 30.0
STALE_SECONDS = 300.0  # ten heartbeats
# A driver that seems silent, by its clock and ours, is watched for so long before its lock is taken: two heartbeats and
# a half, since one may be late.
WATCHED_SECONDS = 75.0


class LocalLockFile:
    """A lock file on a local disk or NFS. It appears whole, by a link, or by O_EXCL where there are no links."""

    settle_seconds = 0.0  # for so long, two drivers that create the file in parallel may both see success

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def create(self, text: str) -> None:
        """Raises FileExistsError where the file exists."""
        try:
            whole = write_atomically(self._apart(), text)
        except OSError as error:
            error.filename = str(self.path)
            raise
        try:
            os.link(whole, self.path)
        except FileExistsError:
            raise
        except OSError:
            with self.path.open("x", encoding="utf-8") as opened:
                opened.write(text)
        finally:
            whole.unlink()

    def _apart(self) -> Path:
        """A name of its own, of which nothing is left once this process was killed."""
        own = unfinished.beside(self.path)
        return own.with_name(f"{own.name}-{uuid.uuid4().hex}")

    def read(self) -> str | None:
        try:
            return regular.content(self.path, UNREADABLE, LARGEST_BYTES).decode(errors="replace")
        except FileNotFoundError:
            return None

    def replace(self, text: str) -> None:
        write_atomically(self.path, text)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


LockFile = LocalLockFile | RemoteLockFile


@contextlib.contextmanager
def held(file: LockFile, what: str) -> Iterator[None]:
    """Hold `file`, the lock of the run `what`, while the block runs. Raises InputError naming another driver's owner.

    A driver without a heartbeat for `STALE_SECONDS` loses its lock to the next driver, and is then interrupted. Clocks
    of machines differ: the next driver first watches whether the heartbeat goes on.
    """
    owner = Owner.here()
    _take(file, owner, what)
    heartbeat = _Heartbeat(file, owner)
    heartbeat.start()
    try:
        yield
    except KeyboardInterrupt:
        if heartbeat.lost_to:
            raise InputError(
                f"{what}: {heartbeat.lost_to} has taken over this run, because this driver wrote no heartbeat for "
                f"{STALE_SECONDS / 60:g} min. Leave the run to that driver, or stop it first"
            ) from None
        raise
    finally:
        heartbeat.stop()
        if not heartbeat.lost_to and (found := owner_of(file)) and found.token == owner.token:
            file.remove()


def holder(file: LockFile) -> Owner | None:
    """The driver that holds the lock; None where there is none, or where it is dead, silent or of another version."""
    owner = last_holder(file)
    return owner if owner and is_alive(owner) else None


def last_holder(file: LockFile) -> Owner | None:
    """Whom the lock names, alive or not; None where it names nobody, or is of another version."""
    with contextlib.suppress(InputError):
        return owner_of(file)
    return None


def is_alive(owner: Owner) -> bool:
    """Whether the driver that holds a lock still runs, as far as this host can know."""
    return not owner.is_gone() and owner.silent_seconds < STALE_SECONDS


def _take(file: LockFile, owner: Owner, what: str) -> None:
    try:
        file.create(owner.model_dump_json())
    except FileExistsError:
        other = owner_of(file)
        if other and _lives(file, other, what):
            raise InputError(_refusal(what, owner_of(file), file)) from None
        file.replace(owner.model_dump_json())
        time.sleep(max(file.settle_seconds, 1.0))  # other drivers may replace it too: the last one holds it
    else:
        time.sleep(file.settle_seconds)
    other = owner_of(file)
    if other is None or other.token != owner.token:
        raise InputError(_refusal(what, other, file))


def _lives(file: LockFile, owner: Owner, what: str) -> bool:
    """Whether the driver still runs: of one whose last heartbeat is minutes away by our clock, whether it writes more,
    or has left the lock to another.
    """
    if owner.is_gone():
        return False
    if abs(owner.silent_seconds) < STALE_SECONDS:
        return True
    log = logging.getLogger(__name__)
    log.warning("%s: waiting up to %.0f s for a heartbeat of its driver, %s", what, WATCHED_SECONDS, owner)
    end = time.monotonic() + WATCHED_SECONDS
    while time.monotonic() < end:
        time.sleep(min(1.0, WATCHED_SECONDS / 10))
        if (now := owner_of(file)) is None or (now.token, now.beat) != (owner.token, owner.beat):
            return True
    return False


def _refusal(what: str, other: Owner | None, file: LockFile) -> str:
    if other is None:
        return f"{what}: another driver is just starting or ending ({file}): try again"
    silent = other.silent_seconds
    alive = f"alive {max(0.0, silent):.0f} s ago"
    if abs(silent) >= STALE_SECONDS:
        alive = (
            f"alive, by a clock {clock(abs(silent))} {'behind' if silent > 0 else 'ahead of'} this machine's: set them"
        )
    return (
        f"{what} is already being run by {other.user} on {other.host} (pid {other.process}, {alive}). Watch it: almr "
        f"status {what}. If that process is dead, wait {STALE_SECONDS / 60:g} min or delete {file}"
    )


def owner_of(file: LockFile) -> Owner | None:
    """Whom a lock file names; None where there is none. Raises InputError for one that cannot be read."""
    text = file.read()
    if text is None:
        return None
    try:
        return Owner.model_validate_json(text)
    except pydantic.ValidationError:
        raise InputError(f"{file}: not a lock file of this version: {UNREADABLE}") from None


class _Heartbeat(threading.Thread):
    """Writes the heartbeat. Once another driver has the lock, sets `lost_to` and interrupts the main thread."""

    def __init__(self, file: LockFile, owner: Owner) -> None:
        super().__init__(name="almr-lock", daemon=True)
        self.file, self.owner = file, owner
        self.lost_to: Owner | None = None
        self.ended = threading.Event()

    def stop(self) -> None:
        self.ended.set()
        self.join()

    def run(self) -> None:
        while not self.ended.wait(HEARTBEAT_SECONDS) and not self.lost_to:
            try:
                self._write_heartbeat()
            except Exception as error:  # the run must survive storage that fails for a while
                logging.getLogger(__name__).warning("the heartbeat of %s failed: %s", self.file, error)
        if self.lost_to:
            interrupt_main_thread()

    def _write_heartbeat(self) -> None:
        text = self.owner.model_copy(update={"beat": datetime.now(UTC)}).model_dump_json()
        found = owner_of(self.file)
        if found is None:
            self.file.create(text)
        elif found.token == self.owner.token:
            self.file.replace(text)
        else:
            self.lost_to = found
