"""A replay of searches on a measured table: regret and the curve's error against the number of trials."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from analysis.search.outcomes import ALL, StrategySummary
from analysis.surfaces.kernels import Array


class StrategyLine(NamedTuple):
    """One strategy at `trials` (n,): the mean and 90th percentile (n,) of its regret, in per cent of the best loss and
    at least the figure's floor; and the error of its curve (n,), NaN where there is none.
    """

    strategy: str
    trials: Array
    mean: Array
    p90: Array
    curve_error: Array


class SimulationInfo(NamedTuple):
    """`floor`: the height at which a regret of 0 is drawn, in per cent. `noise_percent`: the sd of a cell's mean near
    the best; `whole`: the error of the curve that is fitted to all cells; None where they are not known.
    """

    lines: list[StrategyLine]
    floor: float
    noise_percent: float | None
    whole: float | None
    repeats: int


def simulation_info(rows: Sequence[StrategySummary], noise_percent: float | None) -> SimulationInfo:
    searches = [row for row in rows if row.strategy != ALL]
    whole = [row.curve_error for row in rows if row.strategy == ALL]
    floor = _floor(regret for row in searches for regret in (row.regret_percent_mean, row.regret_percent_p90))
    names = dict.fromkeys(row.strategy for row in searches)
    lines = [_line([row for row in searches if row.strategy == name], floor) for name in names]
    repeats = max((row.repeats for row in searches), default=0)
    return SimulationInfo(
        lines=lines, floor=floor, noise_percent=noise_percent, whole=whole[0] if whole else None, repeats=repeats
    )


def _floor(regrets: Iterable[float]) -> float:
    """A power of ten below all regrets above 0."""
    smallest = min((regret for regret in regrets if regret > 0), default=0.1)
    return float(10.0 ** (math.ceil(math.log10(smallest)) - 1))


def _line(rows: Sequence[StrategySummary], floor: float) -> StrategyLine:
    mean, p90 = np.array([(row.regret_percent_mean, row.regret_percent_p90) for row in rows]).T
    errors = [math.nan if row.curve_error is None else row.curve_error for row in rows]
    trials = np.array([row.trials for row in rows])
    return StrategyLine(
        strategy=rows[0].strategy,
        trials=trials,
        mean=np.maximum(mean, floor),
        p90=np.maximum(p90, floor),
        curve_error=np.array(errors),
    )
