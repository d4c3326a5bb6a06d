"""Watches a worker from outside: kills it when its trial hangs, and says why it ended. Linux, standard library alone.

    python -S -m sweep.worker.watch.watcher PID SECONDS

Nothing inside a process that was stopped, or whose interpreter lock is held, can end it. Standard input gets lines from
that process: an empty one about every second while it runs, and JSON objects that say what it does. Their keys replace
earlier ones: `log` of the trial, its `heartbeat` file, `push` (a command that takes the log to where the driver reads
it) and `scratch` (a folder to remove after a sudden end); null where there is none. After SECONDS without a line, or
without a heartbeat, the process is killed. The watcher ends with the process, and with it what that left running.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any

from sweep.worker.watch import ending, log_size, processes
from sweep.worker.watch.silence import OwnTime, Silence

TICK = 1.0
LOG_TICKS = 5  # between two looks at the size of the trial's logs
PUSH_SECONDS = 60.0  # for a store that does not answer
CLOSING_SECONDS = 10.0  # a process that ends closes its files first, and may have much memory to give back


def main() -> None:
    pid, seconds = int(sys.argv[1]), float(sys.argv[2])
    if os.fork():  # Ray kills the direct children of a worker that ends, before this one has seen its end
        return
    Watcher(pid, seconds).watch()


class Watcher:
    """Of the process `pid`, which may be silent for so many seconds."""

    def __init__(self, pid: int, seconds: float) -> None:
        self.pid, self.seconds, self.ended = pid, seconds, os.pidfd_open(pid)
        self.told: dict[str, Any] = {}
        self.heartbeat: Silence | None = None
        self.quiet, self.time, self.rest = 0.0, OwnTime(), b""  # since the last line
        self.seen = processes.Seen(pid)
        self.ticks = 0

    def watch(self) -> None:
        """Returns when the process has ended, or closed its end of the pipe."""
        tick = min(TICK, self.seconds / 10)
        while True:
            ready = select.select([sys.stdin, self.ended], [], [], tick)[0]
            closed = sys.stdin in ready and not self._read()
            if self.ended in ready or (closed and self._has_ended(CLOSING_SECONDS)):
                return self._clear(None)
            if closed:
                return
            self._pass_time(bool(ready))
            self.seen.look()
            self._bound_logs()
            if self._hangs():
                return self._kill()

    def _has_ended(self, seconds: float) -> bool:
        return bool(select.select([self.ended], [], [], seconds)[0])

    def _read(self) -> bool:
        """Take what the process says. False where it will say no more."""
        text = os.read(sys.stdin.fileno(), 65536)
        *lines, self.rest = (self.rest + text).split(b"\n")
        for line in filter(None, lines):
            said = json.loads(line)
            self.told |= said
            if "heartbeat" in said:
                self.heartbeat = Silence(Path(said["heartbeat"])) if said["heartbeat"] else None
        return bool(text)

    def _pass_time(self, said: bool) -> None:
        """Time in which this process did not run either, on a machine that was paused, does not count."""
        passed = self.time.look()
        self.quiet = 0.0 if said else self.quiet + passed

    def _bound_logs(self) -> None:
        self.ticks += 1
        if (log := self.told.get("log")) and self.ticks % LOG_TICKS == 0:
            log_size.bound(Path(log).parent)

    def _hangs(self) -> bool:
        silent = self.heartbeat.seconds if self.heartbeat else 0.0
        return max(silent, self.quiet) > self.seconds

    def _kill(self) -> None:
        reason = ending.hang_reason(self.seconds / 60) + (", and its process was stopped" if self.seen.stopped else "")
        self._write(reason)
        self._push()  # before the end, which the driver sees at once
        self.seen.list_started()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.ended, signal.SIGKILL)
        self._has_ended(CLOSING_SECONDS)
        self._clear(reason)

    def _clear(self, reason: str | None) -> None:
        """After the end of the process: why it ended in the midst of a trial, and nothing of it is left."""
        if self.told.get("log") and not reason:
            self._write(self.seen.why_it_ended(Path(self.told["log"])))
            self._push()
        self.seen.kill()
        if scratch := self.told.get("scratch"):
            import shutil  # rarely needed, and slow to import

            shutil.rmtree(scratch, ignore_errors=True)

    def _write(self, reason: str) -> None:
        """As the last line of the trial's log, whatever the trial was writing."""
        if log := self.told.get("log"):
            with contextlib.suppress(OSError), open(log, "a", encoding="utf-8") as opened:
                opened.write(f"\n{ending.ENDED}{reason}\n")

    def _push(self) -> None:
        if not (command := self.told.get("push")):
            return
        import subprocess  # rarely needed, and slow to import

        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, timeout=PUSH_SECONDS, stdin=subprocess.DEVNULL, check=False)  # noqa: S603


if __name__ == "__main__":
    main()
