"""What a replay of a measured table found: regret and the curve's error against the number of trials."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from analysis.search.outcomes import ALL, StrategySummary
from analysis.surfaces.kernels import Array


class StrategyLine(NamedTuple):
    """One strategy against `trials` (n,): regret in per cent of the best loss, its mean and its 90th percentile (n,),
    both at least the figure's floor; and the curve's error (n,), NaN where there is none.
    """

    strategy: str
    trials: Array
    mean: Array
    p90: Array
    curve_error: Array


class SimulationInfo(NamedTuple):
    """`floor`: where a regret of 0 is drawn on a logarithmic axis, in per cent. `noise_percent`: the sd of a cell's
    mean near the best; `whole`: the curve's error of the surface of all cells. None where they are not known.
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
    return SimulationInfo(lines, floor, noise_percent, whole[0] if whole else None, repeats)


def _floor(regrets: Iterable[float]) -> float:
    """A power of ten below all regrets that are not 0."""
    smallest = min((regret for regret in regrets if regret > 0), default=0.1)
    return float(10.0 ** (math.ceil(math.log10(smallest)) - 1))


def _line(rows: Sequence[StrategySummary], floor: float) -> StrategyLine:
    mean, p90 = np.array([(row.regret_percent_mean, row.regret_percent_p90) for row in rows]).T
    errors = [math.nan if row.curve_error is None else row.curve_error for row in rows]
    trials = np.array([row.trials for row in rows])
    return StrategyLine(rows[0].strategy, trials, np.maximum(mean, floor), np.maximum(p90, floor), np.array(errors))
