"""How long a trial has shown no sign of life, and the end of a worker that shows none."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from trainers.workers.heartbeat import seconds_since

KILLED = "killed: "  # begins the last line of the log of a worker that could not tell in any other way


class HeartbeatWatch:
    """Seconds since a trial's last beat; before the first, and where an earlier attempt left one, since it began."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.began = folder, time.monotonic()

    @property
    def seconds(self) -> float:
        since_began = time.monotonic() - self.began
        beat = seconds_since(self.folder)
        return since_began if beat is None else min(beat, since_began)


def reason(minutes: float) -> str:
    return f"it hung: no sign of life for {minutes:g} minutes (resources.hang_minutes)"


@contextlib.contextmanager
def killed_when_silent(folder: Path, minutes: float, log: Path) -> Iterator[None]:
    """End this process if the trial in it hangs: a thread that hangs in native code can be ended in no other way."""
    done, silence = threading.Event(), HeartbeatWatch(folder)

    def watch() -> None:
        while not done.wait(min(1.0, minutes * 6)):
            if silence.seconds > minutes * 60:
                with log.open("a", encoding="utf-8") as opened:
                    opened.write(f"{KILLED}{reason(minutes)}\n")
                os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()
