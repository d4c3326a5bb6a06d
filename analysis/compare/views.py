"""What a notebook shows of a comparison: a function for each table, and the maps of all runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.compare.fitted import ComparedFit
from analysis.compare.result import RunComparison
from analysis.compare.text import pairs, rows
from analysis.figures.data.objective import ObjectiveInfo, colour_levels, objective_info
from analysis.figures.drawing import Figure
from analysis.figures.views import Settings, drawn
from analysis.surfaces.kernels import Array
from sweep.study import numbers


def maps(found: RunComparison, fits: Sequence[ComparedFit], settings: Settings = None) -> dict[str, Figure]:
    """The objective of each compared run, by its name: in one scale of colours where the objectives compare."""
    infos = {fit.name: objective_info(fit) for fit in fits}
    if found.one_scale:
        losses = np.concatenate([_losses(info) for info in infos.values()])
        infos = {name: info._replace(levels=colour_levels(losses)) for name, info in infos.items()}
    return {name: drawn("objective", info, settings) for name, info in infos.items()}


def verdicts(found: RunComparison) -> pd.DataFrame:
    """A row for each pair of runs: the verdict, the difference of the optima, and p of one optimum."""
    rows = {}
    for pair in found.pairs:
        shift = pair.shift
        rows[f"{found.run(pair.first).name} and {found.run(pair.second).name}"] = {
            "verdict": pairs.word(pair),
            "ALMR, second less first": pairs.almr_shift(shift.almr) if shift.almr else numbers.MISSING,
            "LR, second over first": pairs.lr_shift(shift.lr) if shift.lr else numbers.MISSING,
            "p": math.nan if shift.p_corrected is None else shift.p_corrected,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def winners(found: RunComparison) -> pd.DataFrame:
    """The winners of compared runs with their intervals, as text: a column for each run."""
    return _frame(rows.winner_rows(found))


def costs(found: RunComparison) -> pd.DataFrame:
    """What the winner of each row costs on the surface of each column, in nats per token, as text."""
    return _frame(rows.cost_rows(found))


def fields(found: RunComparison) -> pd.DataFrame:
    """The study fields that differ and that a trial's loss depends on: a column for each run."""
    heads = ["", *(run.name for run in found.runs)]
    return _frame(rows.field_rows(found, decides=True) or [heads])


def words(found: RunComparison) -> pd.DataFrame:
    """What `almr compare` prints of each pair, a line each."""
    lines = [line for pair in found.pairs for line in pairs.pair_lines(found, pair)]
    return pd.DataFrame({"": lines})


def _frame(rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    heads, *rest = rows
    return pd.DataFrame([row[1:] for row in rest], index=[row[0] for row in rest], columns=list(heads[1:]))


def _losses(info: ObjectiveInfo) -> Array:
    allowed = info.mean if info.margin is None else info.mean[info.margin >= 0]
    return np.concatenate([allowed.ravel(), info.cells.loc[info.cells["allowed"], "loss"].to_numpy(float)])
