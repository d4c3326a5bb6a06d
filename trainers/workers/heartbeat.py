"""A trial's sign of life: a file whose time of change says when it last went on. Watched by whoever started it."""

from __future__ import annotations

import time
from pathlib import Path

from sweep.study.files.layout import TrialFiles

SECONDS_BETWEEN = 1.0  # a step may take milliseconds, and shared storage is slow


class Heartbeat:
    """`beat` after every step and before whatever takes long; a hang is a file that grows old."""

    def __init__(self, folder: Path) -> None:
        self.file = TrialFiles(folder).heartbeat
        self.last = -SECONDS_BETWEEN

    def beat(self) -> None:
        now = time.monotonic()
        if now - self.last >= SECONDS_BETWEEN:
            self.file.touch()
            self.last = now


def seconds_since(folder: Path) -> float | None:
    """By the clock of the machine that asks; None before the first beat."""
    try:
        return max(0.0, time.time() - Heartbeat(folder).file.stat().st_mtime)
    except FileNotFoundError:
        return None
