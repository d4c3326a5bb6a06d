"""Kills a worker process whose trial sends no heartbeat."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from trainers.workers.heartbeat import HeartbeatWatch

KILLED = "killed: "  # begins the last line of the log of a worker that the watchdog killed


def hang_reason(minutes: float) -> str:
    return f"the trial hung: no heartbeat for {minutes:g} minutes (resources.hang_minutes)"


@contextlib.contextmanager
def watchdog(folder: Path, minutes: float, log: Path) -> Iterator[None]:
    """Kill this process if its trial hangs: nothing else ends a thread that hangs in native code."""
    done, heartbeat = threading.Event(), HeartbeatWatch(folder)

    def watch() -> None:
        while not done.wait(min(1.0, minutes * 6)):
            if heartbeat.seconds > minutes * 60:
                with log.open("a", encoding="utf-8") as opened:
                    opened.write(f"{KILLED}{hang_reason(minutes)}\n")
                os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()
