"""Every trial of a run, as columns for the page: what it was, what it measured, and its thinned loss curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from analysis.figures.data.training import logged
from analysis.table import table as tables
from sweep.study import numbers as formats
from sweep.study.files.layout import RunFiles
from sweep.study.files.reader import read_object

MOST_POINTS, FEWEST_POINTS, MANY = 40, 20, 300  # of a trial's curve; of more than MANY trials each has the fewest
PURPOSES = {
    "start": "first trials of the search",
    "winner": "to find the winner",
    "curve": "best LR at another ALMR",
}

Numbers = list[float | None]


class TrialColumns(TypedDict):
    """One value per trial in each list, lowest objective first and left-out trials last; None: not known.

    `out`: why the fit did not use the trial. `why`: what it was run for. `order`: its number in the search, from 0.
    `log`: its log, relative to the page.
    """

    id: list[str]
    almr: Numbers
    lr: Numbers
    seed: Numbers
    status: list[str]
    objective: Numbers
    loss: dict[str, Numbers]
    score: dict[str, Numbers]
    counted: Numbers
    tokens: Numbers
    seconds: Numbers
    out: list[str | None]
    why: list[str | None]
    order: Numbers
    log: list[str | None]


class Curves(TypedDict):
    """Training losses in nats per token against tokens. `axes`: the distinct lists of tokens; `axis`: each trial's, or
    None where it logged nothing; `loss`: beside it.
    """

    axes: list[list[float]]
    axis: list[int | None]
    loss: list[list[float] | None]


def columns(table: pd.DataFrame, losses: Sequence[str], run: Path, of_run: bool) -> TrialColumns:
    """`table`: sorted, with the column objective. `of_run`: the trials have folders in the run directory."""
    files = RunFiles(run)
    ids = [str(one) for one in table["trial_id"]]
    scores = [name for name in table.columns if name.startswith("score_") and table[name].notna().any()]
    return TrialColumns(
        id=ids,
        almr=numbers(table, "almr"),
        lr=numbers(table, "lr"),
        seed=numbers(table, "seed"),
        status=[str(one) for one in table["status"]],
        objective=numbers(table, "objective"),
        loss={name: numbers(table, f"loss_{name}") for name in losses},
        score={name.removeprefix("score_"): numbers(table, name) for name in scores},
        counted=numbers(table, "almr_achieved"),
        tokens=numbers(table, "tokens"),
        seconds=numbers(table, "seconds"),
        out=_texts(table, "excluded"),
        why=[PURPOSES.get(why, why) if why else why for why in _texts(table, tables.WHY)],
        order=[_order(files, one) for one in ids] if of_run and tables.WHY in table else [None] * len(ids),
        log=[_log(files, one) for one in ids] if of_run else [None] * len(ids),
    )


def by_objective(table: pd.DataFrame, objective: Callable[[pd.DataFrame], pd.Series] | None) -> pd.DataFrame:
    """With the column `objective`, lowest first; trials that the fit left out come last."""
    values = objective(table) if objective else pd.Series(np.nan, table.index)
    table = table.assign(objective=values, left_out=table["excluded"].notna())
    known = [name for name in ("seed", "almr", "lr") if name in table]
    return table.sort_values(["left_out", "objective", *known])


def curves(ids: Sequence[str], run: Path) -> Curves:
    """A missing or truncated log is no error."""
    most = FEWEST_POINTS if len(ids) > MANY else MOST_POINTS
    axes: dict[tuple[float, ...], int] = {}
    found = Curves(axes=[], axis=[], loss=[])
    for one in ids:
        points = _thinned(list(logged(RunFiles(run).trial(one).metrics)), most)
        axis = tuple(tokens for tokens, _ in points)
        found["axis"].append(axes.setdefault(axis, len(axes)) if points else None)
        found["loss"].append([loss for _, loss in points] if points else None)
    found["axes"] = [list(axis) for axis in axes]
    return found


def _thinned(points: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most so many of the points, evenly by their number, with both ends."""
    kept = np.linspace(0, len(points) - 1, min(most, len(points))).round().astype(int)
    return [points[k] for k in kept]


def numbers(table: pd.DataFrame, name: str) -> Numbers:
    if name not in table:
        return [None] * len(table)
    return [None if formats.missing(value) or not np.isfinite(value) else float(value) for value in table[name]]


def _texts(table: pd.DataFrame, name: str) -> list[str | None]:
    if name not in table:
        return [None] * len(table)
    return [None if formats.missing(value) else str(value) for value in table[name]]


def _order(files: RunFiles, trial_id: str) -> float | None:
    """The trial's number in the search, from 0."""
    proposed: Any = (read_object(files.trial(trial_id).record) or {}).get("proposed")
    index = proposed.get("index") if isinstance(proposed, dict) else None
    return float(index) if isinstance(index, int) else None


def _log(files: RunFiles, trial_id: str) -> str | None:
    path = files.trial(trial_id).log()
    return files.name(path) if path.is_file() else None
