"""What a run is doing now, in lines of at most 80 columns: for the terminal of `almr run` and `almr status --watch`."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.live import Live
from rich.text import Text

from sweep.study import Status
from sweep.study.numbers import clock, count, number, point, quantity, tokens
from sweep.verbs.live.estimate import TimeLeft
from sweep.verbs.live.now import SILENT_SECONDS, RunningTrial, RunNow

WIDTH = 80
MOST_ROWS = 8  # of running trials that are listed: a terminal has 24 lines
BAR = 20
MOST_COLUMNS = 100


def lines(now: RunNow, width: int = WIDTH) -> list[str]:
    """All of it, wrapped at `width` columns."""
    parts = [f"{bar(now)} {counts(now)}", *facts(now), *rows(now)]
    return [line for part in parts for line in _wrapped(part, width)]


@contextmanager
def view(console: Console) -> Iterator[Callable[[RunNow], None]]:
    """What shows a state on a terminal, in one place, and writes nothing where no line of it changed."""
    before: list[str] = []
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(now: RunNow) -> None:
            nonlocal before
            shown = lines(now, min(console.width, MOST_COLUMNS))
            if shown != before:
                live.update(Text("\n".join(shown), overflow="ellipsis", no_wrap=True), refresh=True)
            before = shown

        yield show


def counts(now: RunNow) -> str:
    """14 of 30 trials done, 2 running, 14 waiting, 1 failed."""
    found = {status.value: now.tally.count(status) for status in (Status.DIVERGED, Status.FAILED)}
    bad = [f"{some} {name}" for name, some in found.items() if some]
    parts = [
        f"{now.done} of {count(now.total, 'trial')} done",
        f"{len(now.running)} running",
        f"{now.waiting} waiting",
        *bad,
    ]
    return ", ".join(parts)


def facts(now: RunNow) -> list[str]:
    """The time that is left, the best so far, and what was spent: a line each, of what is known."""
    left = (
        time_left(now.time_left())
        if now.left
        else "all trials have ended; scores that are missing, and the fit, follow"
    )
    return [
        *([now.unheard] if now.unheard else []),
        *([left] if now.driver else []),
        *([now.provisional.text] if now.provisional and now.state != "finished" else []),
        *([best(now)] if now.tally.best else []),
        *(f"budget: {part}" for part in now.spent),
        spent(now),
    ]


def best(now: RunNow) -> str:
    assert now.tally.best
    loss, trial = now.tally.best
    return f"best trial: {point(trial.almr, trial.lr)}: {loss:.4f} {now.study.loss_unit}{launch_loss(now.launch_loss)}"


def spent(now: RunNow) -> str:
    """time: 7 min 15 s of trials so far, 12.3 GPU-hours, cost 31."""
    hours = f", {quantity(now.gpu_hours)} GPU-hours" if now.gpu_hours else ""
    money = "" if now.cost is None else f", cost {now.cost:,.2f}"
    return f"time: {clock(now.trial_seconds)} of trials in all{hours}{money}"


def time_left(left: TimeLeft | None) -> str:
    """about 3 min 10 s left (2 min 40 s to 3 min 50 s). Never 0 s: a trial may hang."""
    if left is None:
        return "time left: not known before a trial's first steps"
    if left.at_least:
        return f"at least {clock(left.seconds)} left: evaluation is not counted before a trial has ended"
    if left.high < 1:
        return "about to end, or the last trials take longer than those before"
    reach = f" ({clock(left.low)} to {clock(left.high)})" if left.high - left.low >= 1 else ""
    return f"about {clock(left.seconds)} left{reach}"


def rows(now: RunNow) -> list[str]:
    """The running trials in columns, those that are nearest to their ends first."""
    table = [cells(now, one, units=True) for one in furthest(now)[:MOST_ROWS]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    more = len(now.running) - len(shown)
    return [f"  {row}" for row in shown] + ([f"  and {more} more"] if more > 0 else [])


def furthest(now: RunNow) -> list[RunningTrial]:
    """The running trials, those that are nearest to their ends first."""
    return sorted(now.running, key=lambda one: -one.step / one.steps)


def how_far(trial: RunningTrial) -> str:
    """step 40/80, loss 4.51, 17.4k tokens/s, 6 s left."""
    return ", ".join(part for part in _parts(trial, units=True) if part)


def how_far_it_came(trial: RunningTrial) -> str:
    """Of one that was interrupted: step 40/80, loss 4.51."""
    return ", ".join(part for part in _parts(trial, units=True)[:2] if part)


def cells(now: RunNow, one: RunningTrial, units: bool = False) -> list[str]:
    """Point, step, loss, tokens/s and time left of a trial; empty where not known. `units`: without column heads."""
    seed = f", seed {one.trial.seed}" if len(now.study.grid.seeds) > 1 else ""
    return [f"{point(one.trial.almr, one.trial.lr)}{seed}", *_parts(one, units)]


def _parts(one: RunningTrial, units: bool) -> list[str]:
    names = ("step ", "loss ", " tokens/s", " left") if units else ("",) * 4
    left = f"{clock(one.seconds_left)}{names[3]}" if one.seconds_left is not None else ""
    quiet = one.silent is not None and one.silent >= SILENT_SECONDS
    return [
        f"{names[0]}{one.step}/{one.steps}",
        f"{names[1]}{number(one.loss, 2)}" if one.loss is not None else "",
        f"{tokens(one.tokens_per_second)}{names[2]}" if one.tokens_per_second is not None else "",
        f"no sign of life for {clock(one.silent or 0)}" if quiet else "evaluating" if one.step >= one.steps else left,
    ]


def dated(line: str) -> str:
    """With the time, for a log."""
    return f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}"


def brief(now: RunNow) -> str:
    """All that fits in one line of a log."""
    left, furthest = now.time_left(), max(now.running, key=lambda one: one.step, default=None)
    step = f"step {furthest.step}/{furthest.steps}" if furthest and furthest.step else ""
    shown = [counts(now), step, time_left(left) if left and not left.at_least else ""]
    return "; ".join(part for part in shown if part)


def bar(now: RunNow) -> str:
    """Trials that are done, and the steps of those that run."""
    done = now.done + sum(one.step / one.steps for one in now.running)
    full = min(BAR, round(BAR * done / max(1, now.total)))
    return f"[{'#' * full}{'-' * (BAR - full)}]"


def launch_loss(expected: float | None) -> str:
    """What a search expects a launch of its best trial to lose, as the end of a line on it; empty where not known."""
    if expected is None:
        return ""
    return f"; a launch now is expected to lose {number(expected, 4)} nats against the best cell"


def _wrapped(line: str, width: int) -> list[str]:
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(line, width, subsequent_indent=f"{indent}  ", break_on_hyphens=False) or [""]
