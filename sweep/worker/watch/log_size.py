"""Bounds the logs of a trial: of one that has grown beyond LARGEST only the end is kept. Standard library alone."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

LARGEST, KEPT = 2**30, 2**20  # bytes
CUT = "--- all but the end of this log was removed, as it had more than {} MB\n"


def bound(folder: Path) -> None:
    """Cut the logs of a trial's folder, while its processes write them.

    They append, so that what they write next stands after what is kept. What they write in this moment may be lost.
    """
    with contextlib.suppress(OSError):
        for log in folder.glob("*.log"):
            if not log.is_symlink() and log.is_file() and log.stat().st_size > LARGEST:
                _cut(log)


def _cut(log: Path) -> None:
    with open(os.open(log, os.O_RDWR | os.O_APPEND), "r+b", buffering=0) as opened:
        opened.seek(-KEPT, os.SEEK_END)
        end = opened.read(KEPT).partition(b"\n")[2]
        opened.truncate(0)
        opened.write(CUT.format(LARGEST // 2**20).encode() + end)
