"""How far a launch is: steps, tokens of each language, speed, time left, and spikes of the loss and the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from analysis.launch.watching.bundles import WatchedLaunch
from analysis.launch.watching.logs.events import RunLog
from sweep.study import LANGUAGES

RECENT = 30  # lines from which speed and the time left are estimated
WINDOW, FEWEST = 20, 5  # lines before one that tell what is usual there
LOSS_SPIKE, NORM_SPIKE = 6.0, 4.0  # robust standard deviations of the loss; times the usual norm
SMALLEST_SPIKE = 0.1  # nats
SD = 1.4826  # of a normal distribution over its median absolute deviation


@dataclass(frozen=True)
class Spike:
    """A line far above the ones before it. `usual`: their median."""

    step: int
    value: float
    usual: float


@dataclass(frozen=True)
class StepSeconds:
    """Seconds per step: the median of the newest lines, and the faster and slower end of four of five."""

    seconds: float
    fast: float
    slow: float


@dataclass(frozen=True)
class LaunchProgress:
    """`tokens`: of each language so far, by the order in which the text is read; `planned`: at the end. `left`: seconds
    to the end, None where nothing tells it. `ended`: it goes on no more.
    """

    step: int
    steps: int
    tokens: dict[str, int]
    planned: dict[str, int]
    almr: float | None
    speed: StepSeconds | None
    left: StepSeconds | None
    step_tokens: int
    loss: float | None
    grad_norm: float | None
    usual_norm: float | None
    loss_spikes: tuple[Spike, ...]
    norm_spikes: tuple[Spike, ...]
    restarts: tuple[tuple[int, int], ...]
    ended: bool


def progress(launch: WatchedLaunch, log: RunLog) -> LaunchProgress:
    step, found = max(0, log.last), speed(log)
    tokens, left = _tokens(launch, step), launch.steps - step
    losses, norms = log.series("loss"), log.series("grad_norm")
    recent = [value for value in list(norms.values())[-WINDOW:] if math.isfinite(value)]
    return LaunchProgress(
        step=step,
        steps=launch.steps,
        tokens=tokens,
        planned=_tokens(launch, launch.steps),
        almr=tokens[LANGUAGES[1]] / sum(tokens.values()) if step else None,
        speed=found,
        left=StepSeconds(left * found.seconds, left * found.fast, left * found.slow)
        if found and left > 0 and not log.ended
        else None,
        step_tokens=launch.step_tokens,
        loss=list(losses.values())[-1] if losses else None,
        grad_norm=list(norms.values())[-1] if norms else None,
        usual_norm=median(recent) if recent else None,
        loss_spikes=tuple(_spikes(losses, lambda usual, sd: usual + max(LOSS_SPIKE * sd, SMALLEST_SPIKE))),
        norm_spikes=tuple(_spikes(norms, lambda usual, sd: NORM_SPIKE * usual)),
        restarts=tuple(log.restarts),
        ended=log.ended,
    )


def _tokens(launch: WatchedLaunch, step: int) -> dict[str, int]:
    """Of the first n sequences, round(n x ALMR) are in the additional language: in every n, as the trials' were."""
    sequences = step * launch.study.training.batch_sequences
    additional = round(sequences * launch.almr)
    length = launch.study.training.sequence_length
    return {"original": (sequences - additional) * length, "additional": additional * length}


def speed(log: RunLog) -> StepSeconds | None:
    """By what the lines say of it, the trainer's own seconds before the clock: the clock counts evaluations too."""
    each = list(_durations(log))[-RECENT:]
    if not each:
        return None
    ordered = sorted(each)
    return StepSeconds(median(ordered), ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10])


def _durations(log: RunLog) -> Iterator[float]:
    """Seconds per step of each line; none of the first, which counts a start."""
    for name in ("step_seconds", "seconds", "at"):
        found = log.series(name)
        if name == "step_seconds" and len(found) > 1:
            yield from (value for value in list(found.values())[1:] if math.isfinite(value) and value > 0)
            return
        rates = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(found.items())]
        usable = [rate for rate in rates if math.isfinite(rate) and rate > 0]  # a start begins its seconds anew
        if usable:
            yield from usable
            return


def _spikes(series: dict[int, float], bound: Callable[[float, float], float]) -> Iterator[Spike]:
    """`bound`: the highest value that is no spike, by the median of the lines before and their deviation."""
    before: list[float] = []
    for step, value in series.items():
        if not math.isfinite(value):
            continue
        if len(before) >= FEWEST:
            usual = median(before)
            sd = SD * median(abs(one - usual) for one in before)
            if value > bound(usual, sd):
                yield Spike(step, value, usual)
        before = [*before, value][-WINDOW:]
