"""Waits for the nodes of a worker group; a failure or a hang stops them all and is reported with its cause."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from sweep.study.errors import printable
from sweep.worker.group.node import NodeOutcome, RankFailure
from sweep.worker.watch.ending import hang_reason

SECONDS_BETWEEN = 0.2
SETTLE_SECONDS = 10.0  # the node that failed first may be the last to report it
# What a rank reports when another rank went away: a consequence, not the cause.
CONSEQUENCES = ("closed by peer", "reset by peer", "DistBackendError", "DistNetworkError", "DistStoreError", "NCCL")

LastLogLine = Callable[[int], str]  # of a rank's log


class WorkerNode(Protocol):
    """One node's processes, here or on another machine."""

    def poll(self) -> NodeOutcome | None: ...

    def stop(self) -> None: ...


class ProgressWatch(Protocol):
    """Tells how long ago the processes made progress."""

    @property
    def seconds(self) -> float: ...


class WorkerGroupError(RuntimeError):
    """A worker group failed; the message is the record's reason, one line."""


class PortTakenError(Exception):
    """Another process took the rendezvous port before torchrun could; another port may be tried."""


def wait_for_nodes(
    nodes: Sequence[WorkerNode], heartbeat: ProgressWatch, hang_minutes: float, last_log_line: LastLogLine
) -> None:
    """Return when every rank of every node has finished. No process is left, also where this raises.

    Raises WorkerGroupError with the cause, and PortTakenError.
    """
    cause = ""
    try:
        while True:
            outcomes = [node.poll() for node in nodes]
            if any(outcome and outcome.failures for outcome in outcomes):
                _raise_cause(_all_failures(nodes), last_log_line)
            if all(outcomes):
                return
            if heartbeat.seconds > hang_minutes * 60:
                raise WorkerGroupError(hang_reason(hang_minutes))
            time.sleep(SECONDS_BETWEEN)
    except WorkerGroupError as error:
        cause = f"{error}; "
        raise
    finally:
        if left := _stop(nodes):
            raise WorkerGroupError(f"{cause}{left}")


def _stop(nodes: Sequence[WorkerNode]) -> str:
    """Stop every node, also after one that cannot be stopped; returns what is wrong with the first such."""
    errors = []
    for node in nodes:
        try:
            node.stop()
        except TimeoutError as error:
            errors.append(str(error).splitlines()[-1])  # of one that Ray brings here, with its traceback
    return next(iter(errors), "")


def _all_failures(nodes: Sequence[WorkerNode]) -> list[RankFailure]:
    """Every failure so far. While none of them is a cause, the other nodes have `SETTLE_SECONDS` to report theirs."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        outcomes = [node.poll() for node in nodes]
        failures = [failure for outcome in outcomes if outcome for failure in outcome.failures]
        cause = any(not _is_consequence(failure) and not _is_silent(failure) for failure in failures)
        if all(outcomes) or time.monotonic() > deadline or cause:
            return failures
        time.sleep(SECONDS_BETWEEN)


def _raise_cause(failures: Iterable[RankFailure], last_log_line: LastLogLine) -> None:
    failures = list(failures)
    if any(NodeOutcome((failure,)).port_taken for failure in failures):
        raise PortTakenError
    raise WorkerGroupError(failure_reason(min(failures, key=_order), last_log_line))


def _order(failure: RankFailure) -> tuple[bool, bool, float]:
    """Causes before consequences, failures with a message before silent ones, earlier before later."""
    return _is_consequence(failure), _is_silent(failure), failure.timestamp


def _is_consequence(failure: RankFailure) -> bool:
    return any(word in (failure.message or "") for word in CONSEQUENCES)


def _is_silent(failure: RankFailure) -> bool:
    """A torchrun that failed although its ranks did not, such as when node 0 went away."""
    return failure.rank is None and failure.message is None


def failure_reason(failure: RankFailure, last_log_line: LastLogLine) -> str:
    process = "torchrun" if failure.rank is None else f"rank {failure.rank}"
    if failure.message:
        message = printable(failure.message)
        return message if failure.rank is None else f"{process}: {message}"
    if failure.exit_status < 0:
        name = signal.Signals(-failure.exit_status).name
        return f"{process} was killed by {name}" + (" (the machine's memory may be full)" if name == "SIGKILL" else "")
    line = "" if failure.rank is None else last_log_line(failure.rank)
    return f"{process} ended with status {failure.exit_status}" + (f": {line}" if line else "")
