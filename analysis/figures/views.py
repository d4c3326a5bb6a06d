"""What a notebook shows of a fit: a function for each figure and each table.

A figure is a matplotlib Figure, which can be changed and saved. `settings` are those of matplotlib's style files, such
as {"image.cmap": "cividis", "font.size": 9}, in place of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.figures.data.languages import languages_info
from analysis.figures.data.objective import objective_info
from analysis.figures.data.slices import slice_info
from analysis.figures.data.training import of_curves, training_info
from analysis.figures.drawing import DRAW, Figure
from analysis.figures.drawing.style import look
from analysis.fit.fit import Fit
from analysis.fit_file.result import FitResult
from analysis.table import table as tables
from sweep.study import InputError, numbers

Settings = Mapping[str, Any] | None


def surface(fit: Fit, settings: Settings = None) -> Figure:
    """The objective over ALMR and LR, with every trial, the curve of best LR and the winner."""
    return drawn("objective", objective_info(fit), settings)


def slice_at(fit: Fit, almr: float, settings: Settings = None) -> Figure:
    """The loss along the LR at one ALMR inside of the tried range, with its band and the trials there."""
    return drawn("slices", slice_info(fit, almr), settings)


def languages(fit: Fit, settings: Settings = None) -> Figure:
    """What one language costs the other, for a fit of two languages' losses."""
    return drawn("languages", languages_info(fit), settings)


def training(fit: Fit, run: str | Path, trial_id: str | None = None, settings: Settings = None) -> Figure:
    """The training curves of a run's trials, or that of one trial, as logged."""
    curves = training_info(fit, Path(run)).curves
    return drawn("training", of_curves([one for one in curves if trial_id in (None, one.trial_id)]), settings)


def winner(fit: FitResult) -> pd.DataFrame:
    """The winner with its intervals, as text, a row for each quantity."""
    one = fit.winner
    rows = {
        "ALMR": (numbers.almr(one.almr), numbers.interval(one.almr_interval, "almr")),
        "peak LR": (numbers.lr(one.lr), numbers.interval(one.lr_interval, "lr")),
        "objective": (numbers.number(one.objective, 4), numbers.interval(one.objective_interval, digits=4)),
    }
    for name, loss in one.losses.items():
        rows[f"{fit.label(name)} loss"] = numbers.number(loss.mean, 4), numbers.interval(loss.interval, digits=4)
    heads = ["winner", f"{numbers.level(one.level)} interval"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=heads)


def findings(fit: FitResult) -> pd.DataFrame:
    """The refusals and warnings: columns kind, code and message."""
    every = [("refused", one) for one in fit.refusals] + [("warning", one) for one in fit.warnings]
    rows = [(kind, one.code, one.message) for kind, one in every]
    return pd.DataFrame(rows, columns=["kind", "code", "message"])


def curve(fit: FitResult) -> pd.DataFrame:
    """The best LR at each ALMR with its interval: columns almr, lr, lr_low, lr_high, at_edge."""
    return pd.DataFrame([point.model_dump() for point in fit.curve])


def trial(fit: FitResult, almr: float, lr: float) -> pd.Series:
    """What is known of the trial nearest to a point, in steps of the grid: its row of the table, named by its
    trial_id. Raises InputError for a table without a usable trial.
    """
    used = tables.usable(fit.table)
    if not len(used) or not lr > 0:
        raise InputError("no usable trial is near: give an LR above 0, and a table of trials")
    steps = tables.TriedPoints.of(fit.table)
    away = steps.scaled(used[["almr", "lr"]].to_numpy(float)) - steps.scaled([almr, lr])
    row = used.iloc[int(np.square(away).sum(axis=1).argmin())]
    known = row[[not numbers.missing(value) for value in row]]
    return known.rename(str(row.get("trial_id", "trial")))


def drawn(name: str, info: Any, settings: Settings) -> Figure:
    """A figure of what it shows, by its name in `analysis.figures.drawing`."""
    with look(settings or {}):
        return DRAW[name](info)
