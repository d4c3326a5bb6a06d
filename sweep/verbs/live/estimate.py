"""The time that a run still takes, as a range: each trial that is left goes to the worker that is free first.

So the last wave, in which workers stand idle, counts, and so does what a trial does after its last step (evaluation and
scores): the lengths are those of whole trials. Pure.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, median

DRAWS = 61  # odd: the middle one has the lengths as they were measured
LEVEL = 0.9  # of the range
COMMON_SD = 0.15  # of ln of all lengths together, known from one trial
DRIFT_SD = 0.05  # the same, known from any number: a machine is busier at times
MOST_BESIDE = 10.0  # seconds beside a trial, where its own are fewer: more is a pause and no cost of trials
WAVES = 3  # the last ones, which are drawn trial by trial; of those before, the mean length is enough


@dataclass(frozen=True)
class UnderWay:
    """A running trial: `seconds` since it began, and `steps_left`, the seconds of its steps that are left, if known."""

    seconds: float
    steps_left: float | None = None


@dataclass(frozen=True)
class Work:
    """What a run has to do: `waiting` trials beside the running ones, `at_once` at a time. `lengths`: seconds of trials
    that ended. `after`: seconds of what follows the last trial, None where that is not known.
    """

    running: Sequence[UnderWay]
    waiting: int
    at_once: int
    lengths: Sequence[float]
    after: float | None = 0.0


@dataclass(frozen=True)
class TimeLeft:
    """In seconds. [`low`, `high`] should hold the end in nine of ten runs. `at_least`: what it takes for certain is all
    that is known, without evaluation, since no trial has ended.
    """

    seconds: float
    low: float
    high: float
    at_least: bool = False


def time_left(work: Work) -> TimeLeft | None:
    """None where nothing tells how long a trial takes."""
    measured = list(work.lengths)
    lengths = measured or [one.seconds + one.steps_left for one in work.running if one.steps_left is not None]
    if not lengths:
        return None if work.running or work.waiting else TimeLeft(0.0, 0.0, 0.0)
    spread = math.hypot(DRIFT_SD, COMMON_SD / math.sqrt(len(lengths)))
    ends = sorted(_end(work, lengths, k, spread) for k in range(DRAWS))
    low, high = ends[round((1 - LEVEL) / 2 * (DRAWS - 1))], ends[round((1 + LEVEL) / 2 * (DRAWS - 1))]
    return TimeLeft(median(ends), low, high, at_least=not measured or work.after is None)


def beside(ends: Sequence[tuple[float, float]], at_once: int) -> float:
    """Seconds that a worker is taken by a trial beyond those that the trial says: it has to be started, and its end to
    be seen. Of trials that are answered from a table it is all that they take.

    `ends`: when each trial ended, and its length, both in seconds. 0 before enough have ended to tell.
    """
    recent = sorted(ends)
    if len(recent) <= 2 * at_once:
        return 0.0
    lengths = [length for _, length in recent[1:]]  # those that are under way at both ends of the span cancel out
    mean, span = sum(lengths) / len(lengths), recent[-1][0] - recent[0][0]
    return min(max(mean, MOST_BESIDE), max(0.0, at_once * span / len(lengths) - mean))


def _end(work: Work, lengths: list[float], draw: int, spread: float) -> float:
    """When all is done, in seconds from now, in one draw of the lengths."""
    chance = random.Random(draw)  # noqa: S311  # equal states are told equal times
    factor = math.exp(spread * NormalDist().inv_cdf((draw + 0.5) / DRAWS))
    sample = [factor * length for length in chance.choices(lengths, k=len(lengths))]
    free = [max(chance.choice(sample) - one.seconds, one.steps_left or 0.0, 0.0) for one in work.running]
    free += [0.0] * max(0, work.at_once - len(free))
    workers = max(1, len(free))
    alone = min(work.waiting, WAVES * workers + work.waiting % workers)
    earlier = (work.waiting - alone) / workers * sum(sample) / len(sample)
    heapq.heapify(free)
    for _ in range(alone):
        heapq.heappush(free, heapq.heappop(free) + chance.choice(sample))
    return earlier + max(free, default=0.0) + (work.after or 0.0)
