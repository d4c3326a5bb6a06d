"""A process and what it started, as /proc shows them. Linux, standard library alone."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from sweep.worker.watch import ending

PAGE = os.sysconf("SC_PAGE_SIZE")
SECONDS_BETWEEN = 5.0  # looks at all processes: a machine may have thousands


class Seen:
    """What was last seen of a process: what it had started, its memory, and how many processes the kernel had killed
    because memory was full.
    """

    def __init__(self, pid: int) -> None:
        self.pid, self.memory, self.stopped = pid, 0, False
        self.kills = _kills_for_memory()
        self.started: dict[int, str] = {}  # process id -> when it began: ids are used again
        self.listed = -SECONDS_BETWEEN

    def look(self) -> None:
        with contextlib.suppress(OSError, IndexError):
            self.memory = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE
            self.stopped = state(self.pid)[0] in "Tt"
            self.kills = _kills_for_memory()
        if time.monotonic() - self.listed >= SECONDS_BETWEEN:
            self.list_started()

    def list_started(self) -> None:
        self.listed = time.monotonic()
        for child in descendants(self.pid):
            with contextlib.suppress(OSError, IndexError):
                self.started[child] = state(child)[19]

    def why_it_ended(self, log: Path) -> str:
        return ending.sudden(log, _kills_for_memory() > self.kills, self.memory)

    def kill(self) -> None:
        """Kill what it started and left running."""
        for pid, began in self.started.items():
            with contextlib.suppress(OSError, IndexError):
                if state(pid)[19] == began:
                    os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Its children and what they started, from one look at all processes: kernels need not list children."""
    parents = dict(_parents())
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def _parents() -> Iterator[tuple[int, int]]:
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, IndexError):  # it ended meanwhile
            yield int(name), int(state(int(name))[1])


def state(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on: of the start it is number 19. The name may hold any character."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def _kills_for_memory() -> int:
    """How often the kernel of this machine has killed a process because memory, or that of a cgroup, was full."""
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/vmstat").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0
