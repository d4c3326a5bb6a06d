"""The heartbeat of a trial: a file whose modification time says when the trial last made progress."""

from __future__ import annotations

import time
from pathlib import Path

from sweep.study.files.layout import TrialFiles

SECONDS_BETWEEN = 1.0  # a step may take milliseconds, and shared storage is slow


class Heartbeat:
    """Touches the file of a trial; a file that grows old is a trial that hangs."""

    def __init__(self, folder: Path) -> None:
        self.file = TrialFiles(folder).heartbeat
        self.last = -SECONDS_BETWEEN

    def signal(self) -> None:
        """Called after every step and before whatever takes long; touches the file at most once a second."""
        now = time.monotonic()
        if now - self.last >= SECONDS_BETWEEN:
            self.file.touch()
            self.last = now
