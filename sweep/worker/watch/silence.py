"""How long a trial has made no progress, by the heartbeat file that it touches. Standard library alone."""

from __future__ import annotations

import time
from pathlib import Path

LONGEST_LOOK = 10.0  # seconds between two looks that count: more means that the machine was paused, the trial with it


class Silence:
    """Read by the process that watches the trial, from the start of an attempt.

    Only whether the file's time changes counts, and when this process saw that: clocks of storage and of other hosts
    may be wrong, and may be set meanwhile.
    """

    def __init__(self, heartbeat: Path) -> None:
        self.file, self.silent, self.looked = heartbeat, 0.0, time.monotonic()
        self.seen = self._written()

    @property
    def seconds(self) -> float:
        """Seconds since this attempt's last heartbeat, or since its start where it has sent none. Read it often."""
        now = time.monotonic()
        self.silent, self.looked = self.silent + min(now - self.looked, LONGEST_LOOK), now
        if (written := self._written()) != self.seen:
            self.seen, self.silent = written, 0.0
        return self.silent

    def _written(self) -> int | None:
        try:
            return self.file.stat().st_mtime_ns
        except OSError:
            return None
