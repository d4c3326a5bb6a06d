"""Opening a file of a run, in whose place there may be anything: a link to nothing, a pipe, a device, a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from sweep.study.errors import InputError

LARGEST_BYTES = 64 * 2**20  # of a file that is read whole: far more than the product writes in one
MEGABYTE = 10**6


class UnreadableFileError(InputError):
    """A path that is no regular file, or one of an impossible size."""


def opened(path: Path, remedy: str = "restore it, or remove it") -> BufferedReader:
    """Open a regular file for reading. Never waits, as opening a pipe does.

    Raises FileNotFoundError, and UnreadableFileError naming path and remedy for what is no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink() and error.errno in (errno.ENOENT, errno.ELOOP):
            raise UnreadableFileError(f"{path}: {_link(path, error)}; {remedy}") from None
        if error.errno == errno.ENXIO:  # a socket
            raise UnreadableFileError(f"{path}: is no regular file; {remedy}") from None
        raise
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
    raise UnreadableFileError(f"{path}: is {what}, not a file; {remedy}")


def content(path: Path, remedy: str = "restore it, or remove it", most: int = LARGEST_BYTES) -> bytes:
    """The bytes of a regular file of at most `most` bytes. Raises as `opened`."""
    with opened(path, remedy) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= most:
            return file.read(most)
    raise UnreadableFileError(
        f"{path}: holds {size // MEGABYTE:,} MB, where a sound one has less than {most // MEGABYTE}; {remedy}"
    )


def refuse_pipes(folder: Path, remedy: str) -> None:
    """Raises UnreadableFileError where the folder holds a pipe, a socket or a device: a library that reads all of its
    files would wait for what nobody writes.
    """
    for path in sorted(folder.iterdir()):
        with contextlib.suppress(FileNotFoundError):  # a link to nothing
            mode = path.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise UnreadableFileError(f"{path}: is a pipe or a device, not a file; {remedy}")


def _link(path: Path, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "is a link that leads to itself"
    return f"is a link to {os.readlink(path)}, which is not there"
