"""This process as one that is watched from outside: it starts its watcher, and tells it which trial it works on."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

CODE = Path(__file__).parents[3]  # the folder of our packages: on a worker, the run's staged code
PULSE_SECONDS = 1.0
STARTED: list[_Watched] = []  # of this process, the last one: workers run many trials


class _Watched:
    def __init__(self, minutes: float) -> None:
        self.pid, self.minutes = os.getpid(), minutes
        command = [sys.executable, "-S", "-m", "sweep.worker.watch.watcher", str(self.pid), str(minutes * 60)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
        start = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=CODE,
            env=environment,
            start_new_session=True,
        )
        start.wait()  # the watcher has left it
        assert start.stdin
        self.pipe = start.stdin
        os.set_blocking(self.pipe.fileno(), False)  # a watcher that was stopped stops no trial
        threading.Thread(target=self._pulse, args=(min(PULSE_SECONDS, minutes * 6),), daemon=True).start()

    def tell(self, **what: Any) -> bool:
        """False where the watcher is gone."""
        return self._write(json.dumps(what).encode() + b"\n")

    def _pulse(self, seconds: float) -> None:
        stop = threading.Event()
        while self._write(b"\n"):
            stop.wait(seconds)

    def _write(self, line: bytes) -> bool:
        try:
            os.write(self.pipe.fileno(), line)
        except BlockingIOError:
            return True
        except (OSError, ValueError):
            return False
        return True


def start(minutes: float) -> None:
    """Have this process watched: it is killed where it, or a trial of `trial`, is silent for so many minutes."""
    if not (STARTED and STARTED[-1].pid == os.getpid() and STARTED[-1].minutes == minutes and STARTED[-1].tell()):
        STARTED[:] = [_Watched(minutes)]


@contextlib.contextmanager
def trial(log: Path, heartbeat: Path | None = None, push: Sequence[str] | None = None) -> Iterator[None]:
    """The trial that this process works on, if it is watched. `push`: a command that takes the log to the driver."""
    tell(log=str(log), heartbeat=heartbeat and str(heartbeat), push=push)
    try:
        yield
    finally:
        tell(log=None, heartbeat=None, push=None)


@contextlib.contextmanager
def scratch(folder: str) -> Iterator[None]:
    """A temporary folder of this process, which nothing but its watcher removes after a sudden end."""
    tell(scratch=folder)
    try:
        yield
    finally:
        tell(scratch=None)


def tell(**what: Any) -> None:
    for watched in STARTED:
        watched.tell(**what)
