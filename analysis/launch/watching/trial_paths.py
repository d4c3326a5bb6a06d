"""The trials' held-out losses on the way -> the predicted path of a launch.

A surface over (ALMR, LR) is fitted to the trials' losses at each share of the steps at which they were measured, as the
fit does at the end, and read off at the winner. The band is set by what the same surfaces get wrong of trials that were
left out of them: `level` of those nearest to the winner have all their measurements inside (conformal prediction, with
the largest error over measurements and languages as a trial's score). It is a band for the whole path.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from analysis.fit_file.result import FitResult
from analysis.launch.plan.predicted_losses import PredictedLosses
from analysis.launch.watching.predicted_path import LeftOut, PathPoint, PredictedPath
from analysis.surfaces.surface import Surface, scales
from analysis.table import table as tables
from sweep.study.files.layout import RunFiles
from sweep.study.files.reader import json_lines

Array = NDArray[np.float64]
MOST_SHARES = 8  # measurements of a path that get a surface each, which takes about a second
NEAREST = 19  # trials by whose errors the band is set, those nearest to the winner: at 90 %, one of 19 may be outside
FEWEST = 9  # of them, with which a band of 90 % can be set
SD = 1.4826  # of a normal distribution over its median absolute deviation
LEAST = 0.5  # of the mean error over the path, under which no error is taken: a median of few may be small by chance
SMALLEST_ERROR = 1e-6  # nats: equal losses would make a band of no width


class TrialPaths(NamedTuple):
    """Changes of the held-out loss of n trials at k shares of the steps, the last of them 1: by language (n, k)."""

    almr: Array
    lr: Array
    shares: Array
    changes: dict[str, Array]


@dataclass(frozen=True)
class FittedPath:
    """At one point: the change by language (k,), the trials' error there (k,), and the factor between that and half the
    band. `inside`: how many of the `trials` that it was set by have all their measurements inside.
    """

    change: dict[str, Array]
    error: dict[str, Array]
    factor: float
    trials: int
    inside: int


def predict(fit: FitResult, run: Path, predicted: PredictedLosses | None) -> PredictedPath | None:
    """The path of the launch that `predicted` is of, from the logs of the fit's trials in the run directory; None where
    nothing is predicted of its end, or too few trials measured on the way.
    """
    if predicted is None or not predicted.changes:
        return None
    paths = read(fit, run, list(predicted.changes))
    if paths is None:
        return None
    with threadpool_limits(1):
        found = fitted(paths, (fit.winner.almr, fit.winner.lr), predicted.level)
    if found is None:
        return None
    return PredictedPath(
        model=predicted.model,
        almr=predicted.almr,
        lr=predicted.lr,
        tokens=predicted.tokens,
        level=predicted.level,
        shares=tuple(paths.shares),
        points={name: _points(found, name, predicted) for name in predicted.changes},
        factor=found.factor,
        left_out=LeftOut(trials=found.trials, inside=found.inside),
        assumption=f"the launch's losses change over the shares of its steps as the trials' did"
        f"{f', {predicted.assumption}' if predicted.assumption else ''}",
    )


def _points(found: FittedPath, name: str, predicted: PredictedLosses) -> tuple[PathPoint, ...]:
    """The last one has the predicted change, and holds its whole interval."""
    change, half = found.change[name], found.factor * found.error[name]
    end = predicted.changes[name]
    on_the_way = [PathPoint(change=c, low=c - h, high=c + h) for c, h in zip(change[:-1], half[:-1], strict=True)]
    low, high = (min(end.interval.low, end.change - half[-1]), max(end.interval.high, end.change + half[-1]))
    return (*on_the_way, PathPoint(change=end.change, low=low, high=high))


def read(fit: FitResult, run: Path, languages: list[str]) -> TrialPaths | None:
    """Of the trials that the fit uses and that measured all these languages at the same steps; None for too few."""
    used, logged = tables.usable(fit.table), []
    for row in used.to_dict("records"):
        path = _path(run, str(row["trial_id"]), languages)
        if path:
            logged.append((float(row["almr"]), float(row["lr"]), path))
    steps = _shared_steps([path for *_, path in logged])
    kept = [one for one in logged if set(steps) <= one[2].keys()]
    if len(steps) < 2 or len(kept) < FEWEST:
        return None
    almr, lr = (np.array([one[i] for one in kept]) for i in (0, 1))
    if len(kept) < tables.fewest(almr, lr):
        return None
    changes = {
        name: np.array([[path[step][name] - path[0][name] for step in steps] for *_, path in kept])
        for name in languages
    }
    return TrialPaths(almr, lr, np.array(steps) / steps[-1], changes)


def _path(run: Path, trial: str, languages: list[str]) -> dict[int, dict[str, float]]:
    """The held-out losses by step, with those of the base model at 0."""
    found = {}
    for line in json_lines(RunFiles(run).trial(trial).metrics):
        losses, step = line.get("held_out"), line.get("step")
        if "horizon" in line or not isinstance(losses, dict) or not isinstance(step, int):
            continue
        if all(isinstance(losses.get(name), float) and math.isfinite(losses[name]) for name in languages):
            found[step] = {name: losses[name] for name in languages}
    return found if 0 in found else {}


def _shared_steps(paths: list[dict[int, dict[str, float]]]) -> list[int]:
    """The steps at which most trials measured, after the first one: all, or MOST_SHARES at equal distances."""
    if not paths:
        return []
    last = max(max(path) for path in paths)
    counts = {step: sum(step in path for path in paths) for path in paths for step in path if step}
    steps = sorted(step for step, count in counts.items() if count > len(paths) / 2)
    if not steps or steps[-1] != last:
        return []
    picked = np.unique(np.linspace(0, len(steps) - 1, min(MOST_SHARES, len(steps))).round().astype(int))
    return [steps[i] for i in picked]


def fitted(paths: TrialPaths, point: tuple[float, float], level: float) -> FittedPath | None:
    """The path at a point (ALMR, LR). None where no band of this level can be set by so few trials."""
    almr, lr = point
    near = _nearest(paths, almr, lr)
    rank = math.ceil((len(near) + 1) * level)
    if rank > len(near):
        return None
    change, error, scores = {}, {}, np.zeros(len(near))
    for name, of in paths.changes.items():
        surfaces = [Surface.averaged(scales(paths.almr, paths.lr, losses)) for losses in of.T]
        change[name] = np.array([float(surface.predict([almr], [lr])[0][0]) for surface in surfaces])
        missed = np.stack([of[:, i] - surface.leave_one_out()[0] for i, surface in enumerate(surfaces)], axis=1)[near]
        usual = SD * np.median(np.abs(missed), axis=0)  # a trial near divergence has an error of another size
        error[name] = np.maximum(usual, max(SMALLEST_ERROR, LEAST * usual.mean()))
        scores = np.maximum(scores, np.abs(missed / error[name]).max(axis=1))
    factor = float(np.sort(scores)[rank - 1])
    return FittedPath(change, error, factor, len(near), int((scores <= factor).sum()))


def _nearest(paths: TrialPaths, almr: float, lr: float) -> NDArray[np.intp]:
    """The trials nearest to a point, in the range of ALMR and of ln LR."""
    across = [_unit(paths.almr, almr), _unit(np.log(paths.lr), math.log(lr))]
    return np.argsort(np.hypot(*across), kind="stable")[:NEAREST]


def _unit(values: Array, at: float) -> Array:
    return (values - at) / (np.ptp(values) or 1.0)
