"""How long a trial has made no progress, by the heartbeat file that it touches. Standard library alone."""

from __future__ import annotations

import time
from pathlib import Path

LONGEST_LOOK = 10.0  # seconds between two looks that count: more means that the machine was paused, the trial with it


class OwnTime:
    """The time in which this process runs, by a clock that nobody sets."""

    def __init__(self) -> None:
        self.looked = time.monotonic()

    @property
    def unseen(self) -> float:
        """Seconds since the last look."""
        return time.monotonic() - self.looked

    def look(self) -> float:
        """The seconds since the last look that count."""
        passed, self.looked = min(self.unseen, LONGEST_LOOK), time.monotonic()
        return passed


class Silence:
    """Read by the process that watches the trial, from the start of an attempt.

    Only whether the file's time changes counts, and when this process saw that: clocks of storage and of other hosts
    may be wrong, and may be set meanwhile.
    """

    def __init__(self, heartbeat: Path) -> None:
        self.file, self.silent, self.time = heartbeat, 0.0, OwnTime()
        self.seen = self._written()

    @property
    def seconds(self) -> float:
        """Seconds since this attempt's last heartbeat, or since its start where it has sent none. Read it often."""
        self.silent += self.time.look()
        if (written := self._written()) != self.seen:
            self.seen, self.silent = written, 0.0
        return self.silent

    def _written(self) -> int | None:
        try:
            return self.file.stat().st_mtime_ns
        except OSError:
            return None
