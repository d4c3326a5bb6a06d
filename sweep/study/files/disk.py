"""Storage that fails: full, over a quota, read-only, broken, or a network file system that lost a file."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSING = (*FULL, errno.EROFS)  # nobody but the user ends this: trying again is of no use
FAILING = (*REFUSING, errno.EIO, errno.ESTALE)
NUMBERED = re.compile(r"\[Errno (\d+)\] [^:\n\[]+(?:: '([^'\n]+)')?(?: -> '([^'\n]+)')?|\(os error (\d+)\)")
TEXTS = {os.strerror(number): number for number in FAILING}
# Of a write that came to nothing, without a number: numpy's tofile, torch's writer of archives.
UNNUMBERED = re.compile(r"\d+ requested and \d+ written|unexpected pos \d+ vs|file write failed|failed writing file")
UNITS = ("B", "kB", "MB", "GB", "TB")
LITTLE = 2**30  # bytes: a disk with less is the likely cause of a write that failed without a number


def fault(error: BaseException, place: str | Path) -> OSError | None:
    """The fault of storage that an error goes back to, as an OSError that names the file, or else `place`; None where
    it is none.

    Libraries wrap it in errors of their own. Some are not written in Python, and give its text alone.
    """
    for link in _chain(error):
        if isinstance(link, OSError) and link.errno is not None:
            if link.errno in FAILING:
                return _named(link.errno, link.filename2 or link.filename or place)
        elif found := in_text(str(link), place):
            return found
    return None


def in_text(text: str, place: str | Path) -> OSError | None:
    """The same of what a program printed."""
    for match in NUMBERED.finditer(text):
        if (number := int(match[1] or match[4])) in FAILING:
            return _named(number, match[3] or match[2] or place)
    if known := next((number for message, number in TEXTS.items() if message in text), None):
        return _named(known, place)
    if UNNUMBERED.search(text):
        return _named(errno.ENOSPC if (free(place) or 0) < LITTLE else errno.EIO, place)
    return None


@contextlib.contextmanager
def naming(place: str | Path) -> Iterator[None]:
    """Within the block, a fault of storage that names no file raises an OSError that names this place."""
    try:
        yield
    except Exception as error:  # each library has its own
        if not (isinstance(error, OSError) and error.filename) and (found := fault(error, place)):
            raise found from error
        raise


def written(path: Path, content: str) -> None:
    """Write text as UTF-8 in place, into a folder that gets its name once it is whole. Raises OSError naming it."""
    with naming(path):
        path.write_text(content, encoding="utf-8")


def free(place: str | Path) -> int | None:
    """Free bytes of the disk that holds a place, which need not exist; None where it cannot be asked."""
    usage = _of_disk(place)
    return usage[0] if usage else None


def room(place: str | Path) -> str:
    """How little room the disk of a place has left, as the words of a message; empty where it has much: then a limit
    of the folder or of the user is reached, which cannot be asked.
    """
    left, total, files = _of_disk(place) or (LITTLE, 0, -1)
    if files == 0 and left:
        return "no room for more files"
    return f"{_size(left)} of {_size(total)} free" if left < LITTLE else ""


def _of_disk(place: str | Path) -> tuple[int, int, int] | None:
    """Free bytes, all bytes, and how many files may still be made (-1: not limited)."""
    path = Path(place).absolute()
    there = next((folder for folder in (path, *path.parents) if folder.exists()), None)
    try:
        assert there
        usage, files = shutil.disk_usage(there), os.statvfs(there)
    except (OSError, AssertionError):
        return None
    return usage.free, usage.total, files.f_favail if files.f_files else -1


def _size(number: float) -> str:
    power = next((power for power in range(len(UNITS)) if number < 1000 ** (power + 1)), len(UNITS) - 1)
    return f"{number / 1000**power:.3g} {UNITS[power]}"


def _named(number: int, place: str | Path | bytes) -> OSError:
    return OSError(number, os.strerror(number), os.fsdecode(place))


def _chain(error: BaseException) -> list[BaseException]:
    """An error, its cause, the cause of that."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    return chain
