"""A trial's heartbeat: a file whose modification time says when the trial last made progress."""

from __future__ import annotations

import time
from pathlib import Path

from sweep.study.files.layout import TrialFiles

SECONDS_BETWEEN = 1.0  # a step may take milliseconds, and shared storage is slow


class Heartbeat:
    """Written by the trial: `beat` after every step, and before anything that takes long."""

    def __init__(self, folder: Path) -> None:
        self.file = TrialFiles(folder).heartbeat
        self.last = -SECONDS_BETWEEN

    def beat(self) -> None:
        now = time.monotonic()
        if now - self.last >= SECONDS_BETWEEN:
            self.file.touch()
            self.last = now


class HeartbeatWatch:
    """Read by the process that watches the trial, from the start of an attempt."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.began = folder, time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since this attempt's last heartbeat, or since its start where it has sent none."""
        since_start = time.monotonic() - self.began
        since_heartbeat = seconds_since(self.folder)
        return since_start if since_heartbeat is None else min(since_heartbeat, since_start)


def seconds_since(folder: Path) -> float | None:
    """Seconds since the last heartbeat, by the clock of the machine that asks; None before the first."""
    try:
        return max(0.0, time.time() - Heartbeat(folder).file.stat().st_mtime)
    except FileNotFoundError:
        return None
