"""Whether a launch goes as predicted, and since when it does not: held-out losses against the band, divergence, stalls.

Divergence is seen without a prediction: a loss that is not finite, a held-out loss over the base model's by more than
the study's `divergence_margin`, or a training loss that has risen far above its lowest level.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from statistics import fmean, median
from typing import Literal

from analysis.fit_file.winner import Interval
from analysis.launch.watching.bundles import WatchedLaunch
from analysis.launch.watching.logs.events import RunLog
from sweep.study import LANGUAGES, numbers

Word = Literal["as predicted", "outside", "diverging", "stalled", "not predicted"]
MEAN = 5  # lines of the training loss that are averaged: their noise is that of a batch
RISE = 0.15  # nats: the least rise of that mean above its lowest that counts as divergence
RISE_SD = 6.0  # and in standard deviations of such a mean
LATE = 2.0  # times what passed between the newest two writes of a log that comes with the checkpoints
SD = 1.4826 / math.sqrt(2)  # of a line, over the median absolute difference of two lines


@dataclass(frozen=True)
class LossCheck:
    """A held-out loss beside what was predicted of it. `excess`: nats above the band, or under it where negative; 0
    inside. `band` is None where nothing is predicted of this step.
    """

    step: int
    language: str
    label: str
    loss: float
    band: Interval | None
    excess: float = 0.0


@dataclass(frozen=True)
class WatchVerdict:
    """`since`: the step from which on it is so; None where it is not of a step. `good`: the newest step before, at
    which the losses were as they should be. `below`: no loss is above its band.
    """

    word: Word
    text: str
    since: int | None = None
    good: int = 0
    below: bool = False

    @property
    def alarms(self) -> bool:
        return self.word in ("outside", "diverging", "stalled")


def verdict(launch: WatchedLaunch, log: RunLog, minutes: float, most_minutes: float) -> WatchVerdict:
    """`minutes`: since the newest line was written; a run that has not ended is stalled after `most_minutes`, and
    where its log comes with the checkpoints, after twice the time between two.
    """
    checks = loss_checks(launch, log)
    if diverged := _diverging(launch, log, checks):
        return diverged
    if not log.ended and minutes > max(most_minutes, LATE * log.between / 60):
        text = f"stalled: no line for {numbers.clock(60 * minutes)}"
        return WatchVerdict("stalled", text, None, max(log.last, 0))
    return _outside(checks) or _inside(launch, log, checks)


def loss_checks(launch: WatchedLaunch, log: RunLog) -> list[LossCheck]:
    """Of every measurement after the first step, by step and language."""
    base = log.held_out.get(0, {})
    return [
        _check(launch, step, name, log.held_out[step][name], base.get(name))
        for step in sorted(log.held_out)
        for name in LANGUAGES
        if step and name in log.held_out[step]
    ]


def _check(launch: WatchedLaunch, step: int, name: str, loss: float, base: float | None) -> LossCheck:
    band = band_at(launch, step, name, base)
    excess = 0.0
    if band and not band.low <= loss <= band.high:
        excess = loss - band.high if not loss < band.low else loss - band.low
    return LossCheck(step, name, launch.labels[name], loss, band, excess)


def band_at(launch: WatchedLaunch, step: int, name: str, base: float | None) -> Interval | None:
    """The predicted band of a held-out loss at a step, from the base model's loss, which this run measured."""
    if base is None or not math.isfinite(base):
        return None
    if launch.path:
        change = launch.path.change(name, step / launch.steps)
        return change and Interval(low=base + change.low, high=base + change.high)
    predicted = launch.predicted.changes.get(name) if launch.predicted else None
    return predicted.after(base) if predicted and step == launch.steps else None


def _diverging(launch: WatchedLaunch, log: RunLog, checks: list[LossCheck]) -> WatchVerdict | None:
    found = [*_not_finite(log), *_over_margin(launch, log, checks), *_risen(launch, log)]
    if not found:
        return None
    since, why = min(found, key=itemgetter(0))
    good = max((check.step for check in checks if check.step < since and check.excess <= 0), default=0)
    return WatchVerdict("diverging", f"diverging since step {since:,} ({why})", since, good)


def _row(steps: Iterable[int], bad: Collection[int]) -> int | None:
    """The first step of the unbroken row of bad ones that leads up to the newest; None where the newest is not bad. A
    run that came back by itself diverges no more.
    """
    found = None
    for step in sorted(steps):
        found = (found if found is not None else step) if step in bad else None
    return found


def _not_finite(log: RunLog) -> Iterator[tuple[int, str]]:
    for name, words in (("loss", "the training loss"), ("grad_norm", "the gradient norm")):
        series = log.series(name)
        lost = {step for step, value in series.items() if not math.isfinite(value)}
        if (since := _row(series, lost)) is not None:
            yield since, f"{words} is not finite"
    lost = {step for step, values in log.held_out.items() if not all(map(math.isfinite, values.values()))}
    if (since := _row(log.held_out, lost)) is not None:
        yield since, "a held-out loss is not finite"


def _over_margin(launch: WatchedLaunch, log: RunLog, checks: list[LossCheck]) -> Iterator[tuple[int, str]]:
    """As the trials' own divergence: the mixture's held-out loss over the base model's."""
    base, margin = log.held_out.get(0, {}), launch.study.training.divergence_margin
    shares = {"original": 1 - launch.almr, "additional": launch.almr}
    over = {}
    for step in sorted({check.step for check in checks}):
        losses = log.held_out[step]
        if all(name in losses and name in base for name in shares):
            over[step] = sum(share * (losses[name] - base[name]) for name, share in shares.items())
    if (since := _row(over, {step for step, excess in over.items() if excess > margin})) is not None:
        yield since, f"held-out loss {over[max(over)]:.3f} above the base model's, margin {margin:g}"


def _risen(launch: WatchedLaunch, log: RunLog) -> Iterator[tuple[int, str]]:
    """Where the mean of the newest lines is far above its lowest, from the end of the warm-up on: the first step after
    the lowest of which this held without a break.
    """
    logged = log.series("loss").items()
    warm = {step: loss for step, loss in logged if step > launch.schedule.warmup and math.isfinite(loss)}
    steps, losses = list(warm), list(warm.values())
    if len(losses) < 2 * MEAN:
        return
    means = [fmean(losses[i - MEAN : i]) for i in range(MEAN, len(losses) + 1)]
    noise = SD * median(abs(b - a) for a, b in pairwise(losses)) / math.sqrt(MEAN)
    lowest = min(range(len(means)), key=means.__getitem__)
    bound = means[lowest] + max(RISE, RISE_SD * noise)
    if means[-1] > bound:
        first = next(i for i in range(len(means) - 1, -1, -1) if means[i] <= bound) + 1
        yield steps[first + MEAN - 1], f"training loss {means[-1] - means[lowest]:.2f} above its lowest level"


def _outside(checks: list[LossCheck]) -> WatchVerdict | None:
    """Where the newest prediction failed: since the first step of the unbroken row that leads up to it."""
    predicted = sorted({check.step for check in checks if check.band})
    by_step = {step: [check for check in checks if check.step == step and check.excess] for step in predicted}
    measured = [sum(check.step == step for check in checks) for step in predicted[-2:]]
    if len(measured) == 2 and measured[1] < measured[0] and not by_step[predicted[-1]]:
        predicted.pop()  # a line for each language: that of the other one is still to come
    if not predicted or not by_step[predicted[-1]]:
        return None
    good = max((step for step in predicted if not by_step[step]), default=0)
    since = next(step for step in predicted if step > good)
    of = "; ".join(f"{one.label}, {_nats(one.excess)}" for one in by_step[predicted[-1]])
    below = all(one.excess < 0 for one in by_step[predicted[-1]])
    at = "" if since == predicted[-1] else f" at step {predicted[-1]:,}"
    return WatchVerdict("outside", f"outside its band since step {since:,} ({of}{at})", since, good, below)


def _nats(excess: float) -> str:
    size = abs(excess)
    shown = f"{size:.2f}" if size >= 0.01 else f"{size:.1g}"
    return f"{shown} {'above' if excess > 0 else 'below'}"


def _inside(launch: WatchedLaunch, log: RunLog, checks: list[LossCheck]) -> WatchVerdict:
    compared = [check for check in checks if check.band]
    if compared:
        last = compared[-1].step
        how = "at the end" if last == launch.steps else f"up to step {last:,}"
        return WatchVerdict("as predicted", f"as predicted {how}", None, last)
    return WatchVerdict("not predicted", f"not predicted: {_why_not(launch, log, checks)}", None, max(0, log.last))


def _why_not(launch: WatchedLaunch, log: RunLog, checks: list[LossCheck]) -> str:
    if log.last < 0:
        return "no step is logged yet"
    if launch.predicted is None:
        return launch.why_not
    if not log.held_out.get(0):
        return "the held-out losses before step 1 are not in the log, from which the changes are counted"
    if not checks:
        return "no held-out loss is logged yet"
    return launch.why_not or "no measurement yet at a step of which something is predicted"
