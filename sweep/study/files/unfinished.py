"""Names of files and folders that are being written, beside what they become. Each tells its process: what a killed one
left is removed at the next start.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from sweep.study.files import disk

ABANDONED_SECONDS = 24 * 3600  # of another machine's files: whether their process lives cannot be known
OWNED = re.compile(r"[.-]([0-9a-f]{8})-(\d+)(?:-\w+)?$")
# A user's own `.zshrc.old-20240105-1` has to be told from ours: they are looked for in folders that are not ours too.
NAMED = re.compile(r"^\..+\.unfinished-(?:replaced-)?([0-9a-f]{8})-(\d+)(?:-\w+)?$")


def beside(path: Path, replaced: bool = False) -> Path:
    """The hidden name under which this process writes what becomes `path`, or keeps what that has `replaced`."""
    return path.with_name(f".{path.name}.unfinished-{'replaced-' if replaced else ''}{owner()}")


@contextlib.contextmanager
def becoming(path: Path) -> Iterator[Path]:
    """A new folder for what the block writes and then moves to `path`; what is left of it is removed. Raises OSError,
    which names the file as it would be called below `path`.
    """
    folder = beside(path)
    try:
        with naming(path, folder):
            remove(folder)  # of an earlier process with our number, as in a container that was started again
            folder.mkdir()
            yield folder
    finally:
        remove(folder)


@contextlib.contextmanager
def naming(path: Path, folder: Path) -> Iterator[None]:
    """An OSError of the block that names a file below `folder` names it as it would be called below `path`."""
    try:
        with disk.naming(path):
            yield
    except OSError as error:
        if (named := error.filename2 or error.filename) is None:
            raise
        raise OSError(error.errno, error.strerror, str(named).replace(str(folder), str(path))) from error


def owner() -> str:
    """This process, as a part of a name."""
    return f"{_machine()}-{os.getpid()}"


def remove_abandoned(*folders: Path) -> None:
    """Remove what killed processes left unfinished in these folders, which need not exist. Looks at our names alone."""
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for path in [Path(entry.path) for entry in entries if entry.name.startswith(".")]:
                if is_abandoned(path):
                    remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, as far as that can be done."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def is_abandoned(path: Path) -> bool:
    """Whether an unfinished file or folder is of a process that has ended."""
    if not (found := NAMED.match(path.name)):
        return False
    if found[1] == _machine():
        return not is_running(int(found[2]))
    try:
        return time.time() - path.lstat().st_mtime > ABANDONED_SECONDS
    except OSError:
        return False


def is_being_written(name: str) -> bool:
    """Whether a name is that of an unfinished file or folder of a process of this machine that runs."""
    found = NAMED.match(name)
    return found is not None and found[1] == _machine() and is_running(int(found[2]))


def has_ended(name: str) -> bool:
    """Whether a name ends with an `owner` of this machine, and maybe a word, whose process has ended."""
    found = OWNED.search(name)
    return found is not None and found[1] == _machine() and not is_running(int(found[2]))


def is_running(process: int) -> bool:
    """Whether this machine has a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def boot() -> str | None:
    """What identifies this start of this machine; None on a system without it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() or None
    except OSError:
        return None


def namespace() -> str | None:
    """The namespace of process ids: each container of a machine has its own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


@functools.cache
def _machine() -> str:
    """This machine since its start, and the namespace of its process ids."""
    parts = [socket.gethostname(), boot() or "", namespace() or ""]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
