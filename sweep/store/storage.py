"""The storage of a run: a folder, on NFS too, or an address of an object store with a local mirror.

Nothing here depends on which files a run has.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sweep.store import lock
from sweep.store.lock import LocalLockFile, LockFile
from sweep.store.mirror import Mirror, scratch
from sweep.store.owner import Owner
from sweep.store.remote import RemoteLockFile, is_remote
from sweep.store.store_errors import RUNNING_SECONDS
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import LOCK, RunFiles


class RunStorage:
    """A run's storage. Its files are read and written in `folder`: at `address` itself, or in the `mirror` of it."""

    def __init__(self, address: str | Path, folder: Path | None = None) -> None:
        self.mirror: Mirror | None = None
        if is_remote(str(address)):
            self.address = str(address).rstrip("/")
            self.folder = folder or scratch(self.address)
            self.mirror = Mirror(self.address, self.folder)
        else:
            self.folder = Path(os.path.realpath(address))  # of a link to itself too
            self.address = str(self.folder)
        self.files = RunFiles(self.folder)

    def __reduce__(self) -> tuple[Any, ...]:
        """For Ray Tune, which pickles its arguments: a connection to a store cannot be pickled, an address can."""
        return type(self), (self.address, self.folder if self.mirror else None)

    @contextlib.contextmanager
    def patiently(self) -> Iterator[None]:
        """Within the block, a store that fails is waited for: a sweep takes hours."""
        if self.mirror:
            self.mirror.patience = RUNNING_SECONDS
        try:
            yield
        finally:
            if self.mirror:
                self.mirror.patience = 0.0

    def pull(self, wanted: Callable[[str], bool], under: str = "") -> None:
        """Bring the files that other hosts wrote below a folder of the run."""
        if self.mirror:
            self.mirror.pull(under, lambda name: name != LOCK and wanted(name))
        elif under:
            with contextlib.suppress(FileNotFoundError):
                os.listdir(self.folder / under)  # NFS shows a new file once its folder is read again

    def push(self, wanted: Callable[[str], bool]) -> None:
        """Bring the files that were written here to where other hosts read them."""
        if self.mirror:
            self.mirror.push(wanted)

    def write(self, path: Path, text: str) -> None:
        """Write a file of the run, whole, here and at its address."""
        write_atomically(path, text)
        if self.mirror:
            self.mirror.put(self.files.name(path))

    def remove(self, path: Path) -> None:
        """Remove a file of the run, if it is there, here and at its address."""
        path.unlink(missing_ok=True)
        if self.mirror:
            self.mirror.delete(self.files.name(path))

    def shown(self, path: Path) -> str:
        """The path or address under which a user finds a file of the run."""
        return f"{self.address}/{self.files.name(path)}"

    def driver(self) -> Owner | None:
        """The driver that runs the study now, or None."""
        return lock.holder(self.lock_file())

    def last_driver(self) -> Owner | None:
        """The driver that runs the study, or one that left its lock behind: killed, or on a machine that was lost."""
        return lock.last_holder(self.lock_file())

    def lock_file(self) -> LockFile:
        return RemoteLockFile(f"{self.address}/{LOCK}") if self.mirror else LocalLockFile(self.files.lock)


def named(runs: str | Path, name: str) -> str | Path:
    """The address of the run of this name among `runs`."""
    return f"{str(runs).rstrip('/')}/{name}" if is_remote(str(runs)) else Path(runs) / name
