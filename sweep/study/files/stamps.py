"""Size and time of change of files, by which a later change is noticed without reading them."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

FileStamps = dict[str, tuple[int, int]]  # by path: size in bytes, and time of change in ns
# The same, with the time at which the file system last changed what it keeps of it, in ns, and the inode. No program
# sets that time: a file that was written over in place and given its old time again is told by it.
Identities = dict[str, tuple[int, int, int, int]]


def stamped(files: Iterable[str]) -> FileStamps:
    """The stamps of those that are files."""
    found = ((file, Path(file).stat()) for file in sorted(files) if Path(file).is_file())
    return {file: (status.st_size, status.st_mtime_ns) for file, status in found}


def identified(files: Iterable[str]) -> Identities:
    """The identities of those that are files."""
    found: Identities = {}
    for file in sorted(files):
        with contextlib.suppress(OSError):  # gone, or out of reach: whoever reads it says so
            status = os.stat(file)
            if stat.S_ISREG(status.st_mode):
                found[file] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return found


def inside(folder: str) -> list[str]:
    """All files of a folder but hidden ones."""
    paths = (path for path in Path(folder).rglob("*") if not f"/{path.relative_to(folder)}".count("/."))
    return [str(path) for path in paths]
