"""Waits for all nodes of a gang; the first failure, or a hang, ends them all and says why."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from sweep.worker import hang
from sweep.worker.group.node import NodeOutcome, RankFailure

SECONDS_BETWEEN = 0.2
SETTLE_SECONDS = 10.0  # the node that failed first may be the last to notice
# What a rank says whose partner went away: it is not the one to blame.
CONSEQUENCES = ("closed by peer", "reset by peer", "DistBackendError", "DistNetworkError", "DistStoreError", "NCCL")


LastWords = Callable[[int], str]  # the last line of a rank's log


class FollowedNode(Protocol):
    def poll(self) -> NodeOutcome | None: ...

    def stop(self) -> None: ...


class WorkerGroupError(RuntimeError):
    """A gang failed; the message is the reason for a person, one line."""


class PortTakenError(Exception):
    """Somebody took the port between its choice and its use: to be tried again with another."""


def follow(
    members: Sequence[FollowedNode], silence: hang.HeartbeatWatch, hang_minutes: float, last_words: LastWords
) -> None:
    """Returns when every rank of every node has finished; otherwise none of them is left when it raises."""
    try:
        while True:
            outcomes = [member.poll() for member in members]
            if any(outcome and outcome.failures for outcome in outcomes):
                _blame(_settled(members), last_words)
            if all(outcomes):
                return
            if silence.seconds > hang_minutes * 60:
                raise WorkerGroupError(hang.reason(hang_minutes))
            time.sleep(SECONDS_BETWEEN)
    finally:
        _stop(members)


def _stop(members: Sequence[FollowedNode]) -> None:
    """All of them, also where one cannot be stopped."""
    errors = []
    for member in members:
        try:
            member.stop()
        except TimeoutError as error:
            errors.append(error)
    if errors:
        raise WorkerGroupError(str(errors[0]))


def _settled(members: Sequence[FollowedNode]) -> list[RankFailure]:
    """Every failure so far; where none of them tells the cause, the other nodes have the time to notice theirs."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        outcomes = [member.poll() for member in members]
        failures = [failure for outcome in outcomes if outcome for failure in outcome.failures]
        if all(outcomes) or time.monotonic() > deadline or not all(_unclear(failure) for failure in failures):
            return failures
        time.sleep(SECONDS_BETWEEN)


def _blame(failures: Iterable[RankFailure], last_words: LastWords) -> None:
    failures = list(failures)
    if any(NodeOutcome((failure,)).port_taken for failure in failures):
        raise PortTakenError
    raise WorkerGroupError(in_words(min(failures, key=_order), last_words))


def _order(failure: RankFailure) -> tuple[bool, bool, float]:
    """Who can tell comes before who cannot, whoever missed a partner last; then the earlier."""
    return _consequence(failure), _mute(failure), failure.timestamp


def _unclear(failure: RankFailure) -> bool:
    return _consequence(failure) or _mute(failure)


def _consequence(failure: RankFailure) -> bool:
    return any(word in (failure.message or "") for word in CONSEQUENCES)


def _mute(failure: RankFailure) -> bool:
    """A torchrun that failed for no fault of its ranks, as when node 0 went away."""
    return failure.rank is None and failure.message is None


def in_words(failure: RankFailure, last_words: LastWords) -> str:
    who = "torchrun" if failure.rank is None else f"rank {failure.rank}"
    if failure.message:
        message = failure.message.strip().splitlines()[0]
        return message if failure.rank is None else f"{who}: {message}"
    if failure.exit_status < 0:
        name = signal.Signals(-failure.exit_status).name
        return f"{who} was killed by {name}" + (" (the machine's memory may be full)" if name == "SIGKILL" else "")
    said = "" if failure.rank is None else last_words(failure.rank)
    return f"{who} ended with status {failure.exit_status}" + (f": {said}" if said else "")
