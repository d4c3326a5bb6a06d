"""Why a worker ended without a word of its own, as the line of a trial's log and the reason of its record."""

from __future__ import annotations

import re
from pathlib import Path

ENDED = "worker ended: "  # begins the line that the watcher adds to the log of a trial
TAIL = 2**16  # bytes of a log that are read: a trial may print gigabytes
CRASH = re.compile(r"^Fatal Python error: (.+)$", re.MULTILINE)
ATTEMPT = "--- attempt "  # begins the first line of an attempt in a log


def hang_reason(minutes: float) -> str:
    return f"the trial hung: no heartbeat for {minutes:g} minutes (resources.hang_minutes)"


def sudden(log: Path, out_of_memory: bool, memory: int) -> str:
    """Of a process that the kernel reported as gone. `memory`: bytes that it held when it was last seen."""
    used = f"it held {memory / 1e9:.1f} GB"
    if out_of_memory:
        return f"killed by the kernel, for the memory of the machine or of its cgroup was full ({used})"
    if crash := CRASH.findall(this_attempt(tail(log))):
        return f"crashed in native code: {crash[-1]} (its stack is in the log)"
    return f"it was killed by SIGKILL, or native code ended it, without a message ({used})"


def this_attempt(log_end: str) -> str:
    """Of the end of a log its last attempt alone, from its number on."""
    return f"\n{log_end}".rpartition(f"\n{ATTEMPT}")[2]


def tail(file: Path) -> str:
    """The last bytes of a text; empty where there is none."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, opened.seek(0, 2) - TAIL))
            return opened.read().decode("utf-8", "replace")
    except OSError:
        return ""


def told(log_end: str, attempt: int = 0) -> str | None:
    """What the watcher wrote of the end of the last attempt; None where it did not have to, or has not yet, and where
    the log does not come to this `attempt`.
    """
    lines = this_attempt(log_end).splitlines()
    if lines and lines[0].isdecimal() and int(lines[0]) < attempt:
        return None
    said = [line for line in lines if line.startswith(ENDED)]
    return said[-1].removeprefix(ENDED) if said else None
