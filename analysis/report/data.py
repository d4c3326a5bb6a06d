"""The data that the page's script draws and computes from, as JSON. `template/types.d.ts` has the same types.

Losses are in `unit`, LRs are peak LRs, and an interval is [low, high]. What is not known is null.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm

from analysis.decision.objectives import base_loss
from analysis.figures.data.loss_and_guard import unguarded
from analysis.figures.data.objective import edge_line
from analysis.fit.grid import SurfaceGrid
from analysis.fit_file.fit_file import FitFile
from analysis.fit_file.result import FitResult
from analysis.report import trials
from analysis.report.history import WinnerAtBudget
from analysis.report.trials import Curves, TrialColumns
from analysis.table import table as tables
from sweep.study import LANGUAGES, Study

DIGITS = 7  # significant, of most numbers in the page
EXACT = ("base", "goal", "grid", "quantiles")  # what a winner is computed from has all of its digits


class GridData(TypedDict):
    """The fitted losses on A ALMRs and L LRs: `mean` and `sd` by loss, (A, L) little-endian doubles in base64; `score`
    the same of fitted benchmark scores.
    """

    almr: list[float]
    lr: list[float]
    mean: dict[str, str]
    sd: dict[str, str]
    score: dict[str, str]


class GoalData(TypedDict):
    """The objective: `weights` that sum to 1, and `bounds`, the highest losses that its guards allow. `forgetting` and
    `guards`: by how many percent the loss of the original language, or of others, may rise over the base model's.
    """

    weights: dict[str, float]
    bounds: dict[str, float]
    forgetting: float | None
    guards: dict[str, float]


class WinnerData(TypedDict):
    """The winner and the uncertainty of where it is. `region`: [ALMR, lowest LR, highest LR] of the joint region;
    `curve`: [ALMR, best LR, low, high]; `edge`: [ALMR, LR] along the divergence edge; `front`: [weight of the
    additional language, ALMR, low, high, LR, low, high, loss of the original language, of the additional one].
    """

    almr: float | None
    lr: float
    objective: float
    almr_interval: list[float | None]
    lr_interval: list[float]
    region: list[list[float]]
    curve: list[list[float | None]]
    edge: list[list[float]]
    front: list[list[float | None]]


class ScoreData(TypedDict):
    """A benchmark score: 1 or -1 as higher or lower is better, the base model's, the change of the chosen trial in its
    own unit, and the best [ALMR, LR] of its own surface.
    """

    name: str
    sign: int
    base: float | None
    change: float | None
    interval: list[float] | None
    verdict: str | None
    best: list[float] | None


class RuleData(TypedDict):
    """What a transfer rule says of the launch's LR."""

    name: str
    lr: float
    interval: list[float]
    applies: bool
    chosen: bool


class PageData(TypedDict):
    """`labels`: the name of each loss; `losses`: those of the trials; `base`: the base model's; `unit`: of all of them.
    `level` of all intervals, and `quantiles`, the normal's at both ends of them and at one. `next`: suggested [ALMR,
    LR]. `table`: the command that fits the trials anew, without its objective. `alone`: the hyper-parameter that was
    fitted alone.
    """

    study: str
    unit: str
    level: float
    quantiles: list[float]
    labels: dict[str, str]
    losses: list[str]
    base: dict[str, float]
    goal: GoalData
    alone: str | None
    grid: GridData | None
    winner: WinnerData | None
    next: list[list[float | None]]
    trials: TrialColumns
    curves: Curves
    scores: list[ScoreData]
    rules: list[RuleData]
    history: list[WinnerAtBudget]
    table: str


def loss_names(fit: FitResult) -> list[str]:
    """Those of the surfaces, and of every source that has a name of its own."""
    return list(dict.fromkeys([*fit.file.forms, *(one.name for one in fit.file.sources)]))


def of_fit(
    fit: FitResult,
    columns: TrialColumns,
    run: Path,
    grid: SurfaceGrid | None,
    history: list[WinnerAtBudget],
    table: str,
) -> PageData:
    """Of a fitted run or table, whose trials are `columns`."""
    file, names = fit.file, loss_names(fit)
    base = {name: loss for name in names if (loss := base_loss(fit.table, name)) is not None}
    almrs = grid.almr if grid and not file.alone else []
    return PageData(
        study=file.study,
        unit=fit.loss_unit,
        level=file.winner.level,
        quantiles=[float(norm.ppf((1 + file.winner.level) / 2)), float(norm.ppf(file.winner.level))],
        labels={name: fit.label(name) for name in [*names, *(set(base) - set(names))]},
        losses=names,
        base=base,
        goal=_goal(fit),
        alone=file.alone,
        grid=_grid(grid) if grid else None,
        winner=_winner(file, [list(point) for point in edge_line(fit, almrs)]),
        next=_next(file),
        trials=columns,
        curves=trials.curves(columns["id"], run) if fit.study else Curves(axes=[], axis=[], loss=[]),
        scores=_scores(fit),
        rules=_rules(file),
        history=history,
        table=table,
    )


def of_trials(study: Study, table: pd.DataFrame, run: Path) -> PageData:
    """Of a run without a fit: its trials alone. `table` may be empty."""
    losses = [name for name in (*LANGUAGES, *study.corpora.source_names()) if f"loss_{name}" in table]
    losses = list(dict.fromkeys(name for name in losses if table[f"loss_{name}"].notna().any()))
    shares = {name: share for name, share in study.objective.shares.items() if share}
    aim = study.objective.forgetting_guard_percent is None and set(shares) <= set(losses)
    sorted_table = trials.by_objective(table, (lambda rows: tables.objective(rows, shares)) if aim else None)
    columns = trials.columns(sorted_table, losses, run, of_run=True)
    base = {name: loss for name in losses if (loss := base_loss(table, name)) is not None}
    return PageData(
        study=study.name,
        unit=study.loss_unit,
        level=study.objective.level,
        quantiles=[],
        labels={name: study.language_name(name) for name in losses},
        losses=losses,
        base=base,
        goal=GoalData(weights=shares if aim else {}, bounds={}, forgetting=None, guards={}),
        alone=None,
        grid=None,
        winner=None,
        next=[],
        trials=columns,
        curves=trials.curves(columns["id"], run),
        scores=[],
        rules=[],
        history=[],
        table="",
    )


def _goal(fit: FitResult) -> GoalData:
    return GoalData(
        weights=unguarded(fit).loss_weights,
        bounds=fit.file.bounds,
        forgetting=fit.file.guard.percent if fit.file.guard else None,
        guards={guard.source: guard.percent for guard in fit.file.loss_guards},
    )


def _grid(grid: SurfaceGrid) -> GridData:
    parts = {
        part: {name: encoded(getattr(loss, part)) for name, loss in grid.losses.items()} for part in ("mean", "sd")
    }
    score = {name: encoded(one.mean) for name, one in grid.scores.items()}
    return GridData(almr=grid.almr, lr=grid.lr, mean=parts["mean"], sd=parts["sd"], score=score)


def encoded(rows: ArrayLike) -> str:
    """Rows of numbers as little-endian doubles in base64."""
    return base64.b64encode(np.asarray(rows, "<f8").tobytes()).decode()


def _winner(file: FitFile, edge: list[list[float]]) -> WinnerData:
    winner = file.winner
    return WinnerData(
        almr=winner.almr,
        lr=winner.lr,
        objective=winner.objective,
        almr_interval=[winner.almr_interval.low, winner.almr_interval.high],
        lr_interval=[winner.lr_interval.low, winner.lr_interval.high],
        region=[[row.almr, row.lr_low, row.lr_high] for row in (file.region.rows if file.region else [])],
        curve=[[point.almr, point.lr, point.lr_low, point.lr_high] for point in file.curve],
        edge=edge,
        front=[
            [
                *(point.weight, point.almr, point.almr_interval.low, point.almr_interval.high),
                *(point.lr, point.lr_interval.low, point.lr_interval.high, *point.losses.values()),
            ]
            for point in file.front
        ],
    )


def _next(file: FitFile) -> list[list[float | None]]:
    findings = [*file.refusals, *file.warnings]
    return [list(point) for point in dict.fromkeys((trial.almr, trial.lr) for one in findings for trial in one.next)]


def _scores(fit: FitResult) -> list[ScoreData]:
    scores = fit.file.scores
    return [
        ScoreData(
            name=fit.label(row.name) if row.kind == "language" else row.name,
            sign=1 if row.higher_is_better else -1,
            base=row.base,
            change=row.change.value if row.change else None,
            interval=[row.change.interval.low, row.change.interval.high] if row.change else None,
            verdict=row.verdict,
            best=[row.optimum.almr, row.optimum.lr] if row.optimum else None,
        )
        for row in (scores.rows if scores else ())
    ]


def _rules(file: FitFile) -> list[RuleData]:
    found = [
        RuleData(
            name=one.rule,
            lr=one.lr,
            interval=[one.lr_interval.low, one.lr_interval.high],
            applies=one.applies,
            chosen=one.chosen,
        )
        for one in file.transfer_rules
        if one.lr is not None and one.lr_interval is not None
    ]
    return sorted(found, key=lambda rule: not rule["chosen"])


def script_json(value: Any, short: bool = True) -> str:
    """As JSON that can stand in a script element whatever texts it holds; `short`: with fewer digits."""
    text = json.dumps(_short(value) if short else value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _short(value: Any) -> Any:
    """Numbers of DIGITS significant digits; null for what is no number."""
    if isinstance(value, float):
        short = float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
        return int(short) if short is not None and short.is_integer() and abs(short) < 2**53 else short
    if isinstance(value, dict):
        return {name: one if name in EXACT else _short(one) for name, one in value.items()}
    return [_short(one) for one in value] if isinstance(value, Sequence) and not isinstance(value, str) else value
