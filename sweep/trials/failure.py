"""Why a trial failed, in words: from what its worker, its watcher and Ray left."""

from __future__ import annotations

import re
import time
from pathlib import Path

from sweep.worker.watch import ending

REASON_LENGTH = 500
WATCHER_SECONDS = 2.0  # the watcher sees the end of a worker when Ray does, and has a line to write
GONE = re.compile(r"Actor(?:Died|Unavailable)Error|RayActorError|OutOfMemoryError|actor is dead|low on memory")
LOW_MEMORY = re.compile(r"OutOfMemoryError|running low on memory")
EXITED = re.compile(r"exits with an exit code (\d+)")
MONITOR = re.compile(r"Memory on the node.*? was ([\d.]+ ?\w*B) ?/ ?([\d.]+ ?\w*B)", re.DOTALL)
FAILURE = re.compile(r"^Failure # \d+ \(occurred at .*\)$", re.MULTILINE)  # Tune's own line above each failure
NOT_STARTED = "raised in its creation task"  # Ray's words: the attempt had not begun
NODE_LOST = re.compile(r"node has died|node was terminated|node failure|node died", re.IGNORECASE)
IMPORT = re.compile(r"^(?:\w+\.)*(ModuleNotFoundError|ImportError|SyntaxError|IndentationError): (.+)$", re.MULTILINE)


def reason(error_file: Path, log: Path) -> str:
    """What the watcher wrote at the end of its log, else what Ray says of a lost worker, else the exception: the last
    line of Tune's error file. Of several failures, the last one's. One line, of at most `REASON_LENGTH` letters.
    """
    error = FAILURE.split(ending.tail(error_file))[-1]
    if NOT_STARTED in error:
        found = _exception(error)
    else:
        found = _of_lost_worker(error, log) if GONE.search(error) else ending.told(log) or _exception(error)
    return found[:REASON_LENGTH]


def _of_lost_worker(error: str, log: Path) -> str:
    if LOW_MEMORY.search(error):
        used = MONITOR.search(error)
        of = f" ({used[1]} of {used[2]} were in use)" if used else ""
        return f"killed by Ray's memory monitor, for the memory of its node was nearly full{of}"
    if exited := EXITED.search(error):
        return f"its process ended itself with status {exited[1]}, as by sys.exit"
    deadline = time.monotonic() + WATCHER_SECONDS
    while not (told := ending.told(log)) and time.monotonic() < deadline:
        time.sleep(0.05)
    if told:
        return told
    if NODE_LOST.search(error):
        return "its node was lost: read Ray's log of that node"
    return "the worker process ended without a message: killed, perhaps for memory, or crashed; read its train.log"


def _exception(error: str) -> str:
    lines = error.strip().splitlines()
    last = lines[-1].strip() if lines else ""
    if failed := IMPORT.findall(last):
        [(kind, what)] = failed
        return f"the worker cannot import its code: {what} ({kind}): install it on every node"
    if "TaskCancelledError" in last:
        return "it was interrupted (KeyboardInterrupt), though not by Ctrl-C here: read its train.log"
    plain = re.sub(r"^sweep\.[\w.]+Error: ", "", last)
    return plain or "the worker process ended without a message: see its train.log"
