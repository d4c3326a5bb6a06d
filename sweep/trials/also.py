"""Trials that a user names beside the study's own, on its grid or off it: `almr run STUDY --also ALMR:LR,...`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sweep.store.run import Run
from sweep.study import InputError, Proposed, Study, Trial, numbers
from sweep.study.errors import shown
from sweep.study.record import ALSO, MOST_SEED, shortest_scientific
from sweep.trials.progress import RunProgress

FORM = "write ALMR:LR, or ALMR:LR:SEED, with commas between, as in 0.65:3.19e-3,0.7:3e-3"
MOST_SHOWN = 6  # points of a message
FAR = 10.0  # an LR so many times outside those of the study was perhaps written in another unit, or before the ALMR


class NamedPoint(NamedTuple):
    """A point of `--also`. Without a seed it is run with each seed of the study."""

    almr: float
    lr: float
    seed: int | None = None

    def trials(self, study: Study) -> list[Trial]:
        seeds = study.grid.seeds if self.seed is None else (self.seed,)
        return [Trial(almr=self.almr, lr=self.lr, seed=seed) for seed in seeds]

    @property
    def written(self) -> str:
        """As `--also` reads it back to the same numbers."""
        lr = shortest_scientific(self.lr).replace("e-0", "e-").replace("e+0", "e")
        return ":".join([repr(self.almr), lr, *([] if self.seed is None else [str(self.seed)])])

    @property
    def shown(self) -> str:
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"ALMR {self.almr!r}, LR {self.written.split(':')[1]}{seed}"


def written(points: Iterable[NamedPoint]) -> str:
    """The value of `--also` that runs these points."""
    return ",".join(point.written for point in points)


def read(texts: Iterable[str]) -> list[NamedPoint]:
    """The points of each value of `--also`. Raises InputError naming the first that is wrong, and how to write it."""
    return [_point(piece.strip()) for text in texts for piece in text.split(",")]


def _point(piece: str) -> NamedPoint:
    almr, lr, *more = piece.split(":") if piece.count(":") in (1, 2) else ("", "")
    try:
        found = NamedPoint(float(almr) + 0.0, float(lr), *map(int, more))  # -0.0 is 0
    except ValueError:
        raise InputError(f"--also: {shown(piece)} is no trial: {FORM}") from None
    for wrong, fault in (
        (not 0 <= found.almr <= 1, f"its ALMR is not in 0 to 1{_as_share(found.almr)}"),
        (not 0 < found.lr < math.inf, "its LR is not a number above 0"),
        (found.seed is not None and not 0 <= found.seed <= MOST_SEED, f"its seed is not in 0 to {MOST_SEED}"),
    ):
        if wrong:
            raise InputError(f"--also: {shown(piece)}: {fault}: {FORM}")
    return found


def _as_share(almr: float) -> str:
    return f" (in percent? write {almr / 100:g})" if 1 < almr <= 100 else ""


class NamedTrials(NamedTuple):
    """The trials of `--also` that the run does not have yet, and what to tell the user, a line each."""

    new: list[Trial]
    notes: list[str]


def find(study: Study, run: Run, points: Sequence[NamedPoint]) -> NamedTrials:
    """Which trials the points add to a run. Writes nothing."""
    known = RunProgress.of(study, run).trials
    added = [point for point in dict.fromkeys(points) if set(point.trials(study)) - {*known}]
    new = [trial for point in added for trial in point.trials(study) if trial not in known]
    notes = [f"--also: {point.shown} is named {count} times: one trial" for point, count in _twice(points)]
    old = [point.shown for point in dict.fromkeys(points) if point not in added]
    notes += [f"--also: already in this run, and not added: {_listed(old)}"] if old else []
    notes += [note for point in added for note in _doubts(point, study, known)]
    new = list(dict.fromkeys(new))
    if new:
        count = f"{len(new)} more trial{'s' * (len(new) != 1)}"
        notes.append(f"--also: {count}: {_listed([point.shown for point in added])}")
    return NamedTrials(new, notes)


def _twice(points: Sequence[NamedPoint]) -> list[tuple[NamedPoint, int]]:
    return [(point, count) for point, count in Counter(points).items() if count > 1]


def _doubts(point: NamedPoint, study: Study, known: Sequence[Trial]) -> list[str]:
    """What may not be meant: a point that prints as a trial of the run does, and an LR far from the study's."""
    near = [t for t in known if numbers.point(t.almr, t.lr) == numbers.point(point.almr, point.lr)]
    alike = [NamedPoint(t.almr, t.lr) for t in near if (t.almr, t.lr) != (point.almr, point.lr)]
    found = [f"--also: {point.shown} is another point than {alike[0].shown}, which the run has"] if alike else []
    low, high = min(study.grid.lrs), max(study.grid.lrs)
    factor = max(low / point.lr, point.lr / high)
    if factor > FAR:
        which, edge = ("above the grid's highest", high) if point.lr > high else ("below the grid's lowest", low)
        found.append(f"--also: {point.shown} is {numbers.times(factor)} {which}, {numbers.lr(edge)}; ALMR comes first")
    return found


def _listed(points: list[str]) -> str:
    more = f"; and {len(points) - MOST_SHOWN} more" if len(points) > MOST_SHOWN else ""
    return "; ".join(points[:MOST_SHOWN]) + more


def add(study: Study, run: Run, trials: Iterable[Trial]) -> None:
    """Request the trials, so that this run and each later one counts them and runs what is left of them.

    One that has a record, of an earlier grid, is taken up as it is.
    """
    first = 1 + max((r.proposed.index for r in run.requests() if r.proposed), default=-1)
    for index, trial in enumerate(trials, first):
        why = Proposed(index=index, why=ALSO)
        if record := run.record(trial):
            run.finish(record.model_copy(update={"proposed": why}))
        run.write_request(trial, study, why, run.attempts(trial))  # last: by it the trial is known as added
