"""Why a trial failed, in words: from what its worker, its watcher and Ray left."""

from __future__ import annotations

import json
import re
import time
import traceback
from pathlib import Path
from typing import NamedTuple

from sweep.store.run import Run
from sweep.study import Trial
from sweep.study.errors import printable, without_secrets
from sweep.worker.watch import ending

REASON_LENGTH = 500
WATCHER_SECONDS = 2.0  # the watcher sees the end of a worker when Ray does, and has a line to write
STORE_SECONDS = 10.0  # likewise, and to put on an object store, for which it imports that store's library
GONE = re.compile(
    r"Actor(?:Died|Unavailable)Error|RayActorError|OutOfMemoryError|actor is dead|low on memory|"
    r"^The actor (?:died unexpectedly|\S+ is unavailable)",
    re.MULTILINE,
)
LOW_MEMORY = re.compile(r"OutOfMemoryError|running low on memory")
EXITED = re.compile(r"exits with an exit code (\d+)")
MONITOR = re.compile(r"Memory on the node.*? was ([\d.]+ ?\w*B) ?/ ?([\d.]+ ?\w*B)", re.DOTALL)
FAILURE = re.compile(r"^Failure # \d+ \(occurred at .*\)$", re.MULTILINE)  # Tune's own line above each failure
NOT_STARTED = "raised in its creation task"  # Ray's words: the attempt had not begun
NODE_LOST = re.compile(r"node has died|node was terminated|node failure|node died", re.IGNORECASE)
IMPORT = re.compile(r"^(?:\w+\.)*(ModuleNotFoundError|ImportError|SyntaxError|IndentationError): (.+)$", re.MULTILINE)


class RaisedError(Exception):
    """What an attempt raised, as Ray brings it to the driver whole, whatever its class and text are.

    Tune copies an exception, and the driver loads it: both call its class anew, with the arguments that it remembers.
    Then its last line counts, which of many exceptions is a hint. The message is a string of JSON: Tune writes it in
    the encoding of the driver's locale.
    """

    @classmethod
    def of(cls, error: BaseException) -> RaisedError:
        said = [line for line in traceback.format_exception_only(error) if not line.startswith("  ")]  # code, as it was
        if isinstance(error, SystemExit):
            said = [f"it called sys.exit({'' if error.code is None else repr(error.code)})"]
        return cls(json.dumps(without_secrets(printable("".join(said)))[:REASON_LENGTH]))


RAISED = re.compile(rf'^{re.escape(f"{RaisedError.__module__}.{RaisedError.__name__}")}: (".*")$', re.MULTILINE)


class TrialLog(NamedTuple):
    """The log of a trial of a run, as the worker and its watcher have written it by now."""

    run: Run
    trial: Trial

    @property
    def told(self) -> str | None:
        """What the watcher wrote of the end of the trial's last attempt."""
        return ending.told(self._end, self.run.attempts(self.trial))

    @property
    def _end(self) -> str:
        log, mirror = self.run.log(self.trial), self.run.mirror
        if mirror is None:
            return ending.tail(log)
        return mirror.end_of(self.run.files.name(log), ending.TAIL).decode("utf-8", "replace")

    @property
    def late(self) -> float:
        """Seconds in which the last line of the watcher comes."""
        return WATCHER_SECONDS if self.run.mirror is None else STORE_SECONDS


def reason(error_file: Path, log: TrialLog) -> str:
    """What the attempt raised; where its worker was lost, what the watcher wrote at the end of its log, else what Ray
    says; else the last line of Tune's error file. Of several failures, the last one's. One line, of at most
    `REASON_LENGTH` letters.
    """
    error = FAILURE.split(ending.tail(error_file))[-1]
    if raised := RAISED.findall(error):
        found = _in_words(json.loads(raised[-1]))
    elif GONE.search(error) and NOT_STARTED not in error:
        found = _of_lost_worker(error, log)
    else:
        found = _exception(error)
    return found[:REASON_LENGTH]


def _of_lost_worker(error: str, log: TrialLog) -> str:
    if LOW_MEMORY.search(error):
        used = MONITOR.search(error)
        of = f" ({used[1]} of {used[2]} were in use)" if used else ""
        return f"killed by Ray's memory monitor, for the memory of its node was nearly full{of}"
    if exited := EXITED.search(error):
        return f"its process ended itself with status {exited[1]}, as at SIGTERM"
    node_lost = NODE_LOST.search(error)  # and its watcher
    deadline = time.monotonic() + (0 if node_lost else log.late)
    while not (told := log.told) and time.monotonic() < deadline:
        time.sleep(log.late / 40)
    if told:
        return told
    if node_lost:
        return "its node was lost: read Ray's log of that node"
    return "the worker process ended without a message: killed, perhaps for memory, or crashed; read its train.log"


def _exception(error: str) -> str:
    lines = error.strip().splitlines()
    last = lines[-1].strip() if lines else ""
    if "TaskCancelledError" in last:
        return "it was interrupted (KeyboardInterrupt), though not by Ctrl-C here: read its train.log"
    return _in_words(last) or "the worker process ended without a message: see its train.log"


def _in_words(error: str) -> str:
    """`error`: with its class."""
    if failed := IMPORT.match(error):
        return f"the worker cannot import its code: {failed[2]} ({failed[1]}): install it on every node"
    return re.sub(r"^sweep\.[\w.]+Error: ", "", error)
