"""Starts the program of a run on this machine, and stops it with all that it started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sweep.external.command.write import CommandFiles
from sweep.external.runs.start import Ended, Script

LOG = "program.log"
LONGEST = 24 * 3600.0  # seconds; a program that is silent is killed long before


def run_here(
    files: CommandFiles, hang_minutes: float, show: Callable[[float], None], stop: float | None = None
) -> Ended:
    """Run the program to its end. It is killed where it neither prints nor writes a file for `hang_minutes`, which is a
    fault, and with `stop` after so many seconds, or at its first checkpoint.
    """
    silence, log = Silence([files.folder]), files.folder / LOG
    silent = False

    def watch(seconds: float) -> bool:
        nonlocal silent
        show(seconds)
        silent = silence.minutes(seconds) > hang_minutes
        due = stop is not None and (seconds > stop or any(files.checkpoints.iterdir()))
        return silent or due

    ended = Script(files.start, {}, log, LONGEST).run(watch)
    if silent:
        return Ended(ended.seconds, fault=f"it hung: no output and no file for {hang_minutes:g} minutes (log: {log})")
    return ended


class Silence:
    """For how long nothing below some folders has changed, by the sizes and times of their files."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders, self.since = folders, 0.0
        self.seen = self._state()

    def minutes(self, seconds: float) -> float:
        """At a time, in seconds, that never goes back."""
        if (now := self._state()) != self.seen:
            self.seen, self.since = now, seconds
        return (seconds - self.since) / 60

    def _state(self) -> tuple[int, int, int]:
        """The number of files, their bytes, and the newest time."""
        found = []
        for folder in self.folders:
            for path in folder.rglob("*"):
                try:
                    found.append(path.stat())
                except OSError:  # it is gone
                    continue
        return len(found), sum(one.st_size for one in found), max((one.st_mtime_ns for one in found), default=0)
