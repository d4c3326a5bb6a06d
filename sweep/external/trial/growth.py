"""Progress of a program that sends no heartbeat: its log and the files that it writes grow."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from sweep.worker.watch.silence import OwnTime
from trainers.workers.heartbeat import Heartbeat

SECONDS_BETWEEN = 1.0  # looks: shared storage is slow


class GrowthWatch:
    """Watches files and folders from now on, and sends the heartbeat of the trial's `folder` when one of them grows."""

    def __init__(self, paths: Iterable[Path], folder: Path) -> None:
        self.paths, self.heartbeat = tuple(paths), Heartbeat(folder)
        self.silent, self.time = 0.0, OwnTime()
        self.seen = self._look()

    @property
    def seconds(self) -> float:
        """Seconds since a file last grew or was written, or since the start. Read it often: time in which this process
        did not look, with a machine or container that was paused, does not count.
        """
        if self.time.unseen >= SECONDS_BETWEEN:
            self.silent += self.time.look()
            if (found := self._look()) != self.seen:
                self.seen, self.silent = found, 0.0
                self.heartbeat.signal()
        return self.silent

    def _look(self) -> tuple[int, int, int]:
        """Files, their bytes, and the newest time that one was written, in nanoseconds."""
        sizes, newest = [], 0
        for path in self._files():
            try:
                state = path.stat()
            except OSError:
                continue  # a checkpoint that is deleted now
            sizes.append(state.st_size)
            newest = max(newest, state.st_mtime_ns)
        return len(sizes), sum(sizes), newest

    def _files(self) -> Iterable[Path]:
        for path in self.paths:
            if not path.is_dir():
                yield path
            for folder, _, names in os.walk(path):
                yield from (Path(folder) / name for name in names)
