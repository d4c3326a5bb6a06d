"""What a trainer's log says, event by event, and the run that the events add up to."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

HELD_OUT = "held_out/"  # begins the name of a held-out loss, before the name of its text
MOST_STEPS = 10**9  # a larger number is no step
LARGEST = 1e18  # what is larger counts as infinite: no loss, norm, time or number of tokens is
Values = dict[str, float]


class LogEvent(NamedTuple):
    """Values of one optimizer step, counted from 1; 0 is before the first. `values`: loss, lr, grad_norm, tokens (so
    far), seconds (of training so far), step_seconds (mean of the steps since the last line), `held_out/NAME` (nats per
    token). `at`: seconds since some time. `total` and `batch`: the steps of the run and the sequences of a step, where
    the line states them.
    """

    step: int
    values: Values
    at: float | None = None
    total: int | None = None
    batch: int | None = None


@dataclass
class RunLog:
    """A run by step: what was logged of its training, and its held-out losses by name. `restarts`: [step that was
    reached, step that it went back to]. `written`: when the newest file was, in seconds since 1970. `left_out`: lines
    that look like a trainer's but cannot be read. `without_step`: lines with losses that name no step.
    `ended`: the trainer says that it goes on no more. `between`: seconds between two writes of a log that comes with
    the checkpoints, infinite after the first; 0 where lines come as it trains.
    """

    steps: dict[int, Values] = field(default_factory=dict)
    held_out: dict[int, Values] = field(default_factory=dict)
    restarts: list[tuple[int, int]] = field(default_factory=list)
    totals: set[int] = field(default_factory=set)
    batches: set[int] = field(default_factory=set)
    written: float = 0.0
    files: list[Path] = field(default_factory=list)
    left_out: int = 0
    without_step: int = 0
    ended: bool = False
    between: float = 0.0

    @property
    def last(self) -> int:
        """The newest step of which anything is known; -1 before the first line."""
        return max((*self.steps, *self.held_out), default=-1)

    def series(self, name: str) -> dict[int, float]:
        """One value by step, ascending."""
        return {step: self.steps[step][name] for step in sorted(self.steps) if name in self.steps[step]}

    def add(self, events: Iterable[LogEvent]) -> None:
        """Events in the order in which they were written. A step that is lower than the one before is a restart: what
        was logged from there on belongs to a run that ended, and the newer count.
        """
        before = -1
        for event in events:
            if event.step < before:
                self.restarts.append((before, event.step))
                self._forget(event.step)
            before = event.step
            self._put(event)

    def _forget(self, first: int) -> None:
        for kept in (self.steps, self.held_out):
            for step in [step for step in kept if step >= first]:
                del kept[step]

    def _put(self, event: LogEvent) -> None:
        values = {name: bounded(value) for name, value in event.values.items()}
        held_out = {name.removeprefix(HELD_OUT): value for name, value in values.items() if name[:9] == HELD_OUT}
        training = {name: value for name, value in values.items() if name[:9] != HELD_OUT}
        if training:
            timed = training | ({"at": bounded(event.at)} if event.at is not None else {})
            self.steps.setdefault(event.step, {}).update(timed)
        if held_out:
            self.held_out.setdefault(event.step, {}).update(held_out)
        self.totals |= {event.total} if event.total else set()
        self.batches |= {event.batch} if event.batch else set()

    def follow(self, newer: RunLog) -> None:
        """Add a file that the same trainer wrote later: after a restart it may begin at an earlier step."""
        trained = [step for step in (*newer.steps, *newer.held_out) if step > 0]  # step 0 is measured at every start
        if trained and 0 < min(trained) <= self.last:
            self.restarts.append((self.last, min(trained)))
            self._forget(min(trained))
        self.restarts += newer.restarts
        self._take(newer)

    def beside(self, other: RunLog) -> None:
        """Add what another kind of file says of the same run. Where the two differ, the newer one counts."""
        older, newer = sorted((self, other), key=lambda one: one.written)
        if newer.restarts:
            older._forget(newer.last + 1)
        mine = copy.deepcopy((self.steps, self.held_out))
        self.restarts = max(self.restarts, other.restarts, key=len)
        self._take(other)
        if newer is self:
            self._put_over(*mine)

    def _put_over(self, steps: dict[int, Values], held_out: dict[int, Values]) -> None:
        for mine, theirs in ((self.steps, steps), (self.held_out, held_out)):
            for step, values in theirs.items():
                mine[step] = mine.get(step, {}) | values

    def _take(self, other: RunLog) -> None:
        self._put_over(other.steps, other.held_out)
        self.totals |= other.totals
        self.batches |= other.batches
        self.between = min(self.between, other.between) if self.files else other.between
        self.written = max(self.written, other.written)
        self.files += other.files
        self.left_out += other.left_out
        self.without_step += other.without_step


def event(step: object, values: Values, **more: object) -> LogEvent | None:
    """An event whose step is one; None otherwise."""
    if isinstance(step, bool) or not isinstance(step, int | float) or not 0 <= step <= MOST_STEPS or step != int(step):
        return None
    return LogEvent(int(step), values, **more)  # type: ignore[arg-type]


def bounded(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) > LARGEST else value


def known(found: Iterable[LogEvent | None]) -> Iterator[LogEvent]:
    return (one for one in found if one is not None)
