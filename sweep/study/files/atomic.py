"""Writing a file whole or not at all, and the sha256 of a file. All files of the product are written here."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sweep.study.files import regular, unfinished

AT_ONCE = 8  # files that are waited for
# What file systems say that cannot wait for a folder, or for a file that is open for reading alone, as some of FUSE.
UNABLE = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM)


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Write text (as UTF-8) or bytes; returns the path. A missing folder is created.

    A reader sees the old file or the new one, never a part, even after a crash of the machine. Raises OSError that
    names `path`, or its folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _replace(path, content.encode("utf-8") if isinstance(content, str) else content)
    except OSError as error:  # names the temporary file, or none where the disk is full
        raise OSError(error.errno, error.strerror, str(path)) from error


def _replace(path: Path, content: bytes) -> Path:
    descriptor, temporary = tempfile.mkstemp(prefix=f"{unfinished.beside(path).name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        Path(temporary).chmod(0o644)  # mkstemp creates it private
        return Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Wait until all files below a folder are on the disk. One that is renamed before may be there after a loss of
    power with files that are empty or cut. Raises OSError that names the file.

    At once, since a disk then waits once for several: four times as fast as one after another.
    """
    paths = [path for path in (*folder.rglob("*"), folder) if not path.is_symlink()]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(sync_one, paths))


def sync_one(path: Path) -> None:
    """The same of one file or, of a folder, of the names in it, where the file system can: else it is as it was."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in UNABLE:
            return
        raise OSError(error.errno, error.strerror, str(path)) from error


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hex, read in pieces: weights may be larger than memory. Raises OSError, and
    InputError for what is no regular file.
    """
    with regular.opened(path) as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
