"""What a run is doing now, in numbers: the terminal of `almr run`, `almr status` and the page all show these."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweep.store.owner import Owner
from sweep.store.run import Run
from sweep.study import Record, Status, Study, Trial
from sweep.verbs.live.estimate import TimeLeft, UnderWay, Work, beside, time_left
from sweep.verbs.live.provisional import Provisional

MOST_LENGTHS = 40  # of the last trials that ended, from which the time left is estimated: a machine's speed changes
SILENT_SECONDS = 120.0  # without a heartbeat, after which that is said


@dataclass(frozen=True)
class RunningTrial:
    """A trial that has begun and has no record: how far it is. `seconds`: since it began. `seconds_left` is for the
    steps of its main run. `silent`: seconds since its last heartbeat, where it gives any.
    """

    trial: Trial
    step: int
    steps: int
    loss: float | None = None
    tokens_per_second: float | None = None
    seconds: float = 0.0
    seconds_left: float | None = None
    silent: float | None = None

    @staticmethod
    def of(run: Run, study: Study, trial: Trial, began: float = 0.0) -> RunningTrial:
        """From the trial's files. `began`: when, at the earliest, in seconds since 1970."""
        found, steps = run.last_steps(trial), study.training.steps
        last, before = ([{}, *found])[-1], ([{}, {}, *found])[-2]
        step, seconds = int(last.get("step") or 0), last.get("seconds")
        files, now = run.files.trial(trial.id), time.time()
        start, beat = max(began, written_seconds(files.request) or 0.0), written_seconds(files.heartbeat)
        return RunningTrial(
            trial=trial,
            step=step,
            steps=steps,
            loss=_finite(last.get("loss")),
            tokens_per_second=_speed(last, before, study.training.global_batch_tokens),
            seconds=max(0.0, now - start) if start else 0.0,
            seconds_left=seconds / step * (steps - step) if step and seconds and seconds > 0 else None,
            silent=max(0.0, now - beat) if beat and beat >= start else None,
        )

    def as_json(self) -> dict[str, Any]:
        named = {"trial_id": self.trial.id, "almr": self.trial.almr, "lr": self.trial.lr}
        return named | {name: value for name, value in asdict(self).items() if name != "trial"}


class Tally:
    """What the records of a run add up to. A record that is added again, of a later attempt, replaces the earlier."""

    def __init__(self, study: Study, records: Iterable[Record] = ()) -> None:
        self.study = study
        self.ends: dict[str, Status] = {}
        self.spent: dict[str, tuple[float, float]] = {}  # seconds and GPU-hours
        # Of trials with a result: when it was seen, in seconds since 1970 (0: not known), and the trial's own seconds.
        self.lengths: dict[str, tuple[float, float]] = {}
        self.best: tuple[float, Trial] | None = None  # the lowest objective, and where
        for record in records:
            self.add(record)

    def add(self, record: Record, ended: float = 0.0) -> None:
        one = record.trial_id
        self.ends[one] = record.status
        self.spent[one] = record.seconds or 0.0, record.gpu_hours or 0.0
        self.lengths.pop(one, None)
        if record.seconds and record.status is not Status.FAILED:
            self.lengths[one] = ended, record.seconds * (self.study.replay.pace if self.study.replay else 1.0)
        loss = self.study.objective.of_record(record)
        if loss is not None and (self.best is None or loss < self.best[0]):
            self.best = loss, record.trial

    def count(self, status: Status) -> int:
        return Counter(self.ends.values())[status]

    @property
    def trial_seconds(self) -> float:
        return sum(seconds for seconds, _ in self.spent.values())

    @property
    def gpu_hours(self) -> float:
        return sum(hours for _, hours in self.spent.values())


@dataclass(frozen=True)
class RunNow:
    """`total`: all trials there will be, at most. `left`: those without a result, running ones too. `at_once`: how many
    run in parallel. `spent`: of a search's budget, in words. `launch_loss`: nats that a launch now is expected to lose.
    `driver`: who runs it, in words, None where nobody does; `since` when, in seconds since 1970. `unheard`: that its
    driver gave no sign for long, in words. `after`: as in `Work`.
    """

    study: Study
    tally: Tally
    total: int
    left: int
    running: Sequence[RunningTrial] = ()
    interrupted: Sequence[RunningTrial] = ()
    at_once: int = 1
    spent: Sequence[str] = ()
    launch_loss: float | None = None
    driver: str | None = None
    since: float = math.inf
    unheard: str | None = None
    provisional: Provisional | None = None
    after: float | None = 0.0

    @property
    def done(self) -> int:
        """Trials with a record."""
        return len(self.tally.ends)

    @property
    def waiting(self) -> int:
        """Trials that have yet to begin, or to begin again."""
        return max(0, self.left - len(self.running))

    @property
    def state(self) -> str:
        if self.driver:
            return "running"
        return "interrupted" if self.left else "finished"

    @property
    def gpu_hours(self) -> float:
        """So far, running trials too."""
        gpus = self.study.trial_resources.gpus
        return self.tally.gpu_hours + sum(one.seconds for one in self.running) * gpus / 3600

    @property
    def trial_seconds(self) -> float:
        return self.tally.trial_seconds + sum(one.seconds for one in self.running)

    @property
    def cost(self) -> float | None:
        """Of the GPU-hours so far, in the currency of the price."""
        price = self.study.price_per_gpu_hour
        return price * self.gpu_hours if price and self.study.trial_resources.gpus else None

    def time_left(self) -> TimeLeft | None:
        """None where nobody runs it, where no trial is left, and where nothing tells it."""
        if not self.driver or not self.left:
            return None
        last = list(self.tally.lengths.values())[-MOST_LENGTHS:]
        under_way = [UnderWay(one.seconds, one.seconds_left) for one in self.running]
        at_once = max(self.at_once, len(under_way))
        more = beside([(ended, length) for ended, length in last if ended >= self.since], at_once)
        return time_left(Work(under_way, self.waiting, at_once, [length + more for _, length in last], self.after))

    def as_json(self) -> dict[str, Any]:
        left = self.time_left()
        return {
            "state": self.state,
            "unheard": self.unheard,
            "running": [one.as_json() for one in self.running],
            "interrupted": [one.as_json() for one in self.interrupted],
            "at_once": self.at_once,
            "time_left": left and asdict(left),
            "gpu_hours": self.gpu_hours,
            "trial_seconds": self.trial_seconds,
            "cost": self.cost,
            "provisional": self.provisional and self.provisional.as_json(),
        }


def unheard(last: Owner | None) -> str | None:
    """What to say of a driver that gave no sign for long, as where its machine was lost. Of one that is known to have
    ended there is nothing to say.
    """
    if last is None or last.silent_seconds < SILENT_SECONDS or last.is_gone():
        return None
    return f"nothing was heard of {last} since {last.heard}: was its machine lost?"


def _speed(last: dict[str, Any], before: dict[str, Any], batch_tokens: int) -> float | None:
    """Tokens per second between the last two logged steps, else since the first."""
    step, seconds = last.get("step"), last.get("seconds")
    if not step or not seconds or seconds < 0:
        return None
    steps, taken = step - (before.get("step") or 0), seconds - (before.get("seconds") or 0.0)
    return float(steps * batch_tokens / taken if steps > 0 and taken > 0 else step * batch_tokens / seconds)


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, float) and math.isfinite(value) else None


def written(path: Path) -> int | None:
    """When a file was written, in ns since 1970; None where it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def written_seconds(path: Path) -> float | None:
    return None if (at := written(path)) is None else at / 1e9
