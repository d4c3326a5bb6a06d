"""Why a trainer failed, in one line, from what it printed."""

from __future__ import annotations

import re
import signal

from sweep.study.errors import printable

MEMORY = re.compile(r"CUDA out of memory|OutOfMemoryError|\bMemoryError\b|Cannot allocate memory|DefaultCPUAllocator")
ERROR = re.compile(r"^(?:\[?rank\s?\d+\]?:?\s*)*(?:[\w.]*(?:Error|Exception|Interrupt)\b:|(?:start|prepare)\.sh: )")
# What torchrun and Python say after the cause.
AFTER = re.compile(r"ChildFailedError|^=+$|^-+$|Root Cause|^\s*(?:time|host|rank|exitcode|error_file|traceback)\s*:")
LONGEST = 300
KILLED = -9, 137  # SIGKILL, as a shell tells it too
SUGGESTION = "out of memory: lower training.micro_batch_sequences, or give a trial more GPUs"


def of_log(text: str, status: int) -> str:
    """The cause of a program that ended with this status, not 0."""
    lines = list(filter(None, map(printable, re.split(r"[\r\n]+", text))))
    errors = [line for line in lines if ERROR.match(line) and not AFTER.search(line)]
    if memory := next((line for line in lines if MEMORY.search(line)), None):
        return f"{SUGGESTION} ({_short(memory)})"
    if errors:
        return _short(errors[-1])
    if status in KILLED:
        return "killed by SIGKILL (the machine's memory may be full)"
    ended = f"killed by {signal.Signals(-status).name}" if status < 0 else f"it ended with status {status}"
    last = next((line for line in reversed(lines) if not AFTER.search(line)), None)
    return f"{ended}: {_short(last) if last else 'it printed nothing'}"


def _short(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
