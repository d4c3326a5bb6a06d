"""What each figure shows, as plain data: `*_info` gathers it from a fit and analysis.plots draws it.

Losses are in nats per token and LRs are peak LRs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from analysis import table as tables
from analysis.fit import Fit
from analysis.surface import Array
from analysis.winner import CurvePoint, Interval, Optima, Winner
from sweep.study import LANGUAGES

LEVELS = 14


class ObjectiveInfo(NamedTuple):
    """The mean objective (A, L) over `almr` (A,) and `lr` (L,), and what was measured.

    `cells` has columns almr, lr, objective (the mean over seeds); `diverged` and `unused` have almr, lr. `levels` are
    the bounds of the colours.
    """

    almr: Array
    lr: Array
    mean: Array
    levels: Array
    cells: pd.DataFrame
    diverged: pd.DataFrame
    unused: pd.DataFrame
    curve: list[CurvePoint]
    winner: Winner


class Slice(NamedTuple):
    """The objective along `lr` (L,) at one ALMR: its mean and band (L,), the trials (lr, objective), the best LR."""

    almr: float
    lr: Array
    mean: Array
    low: Array
    high: Array
    trials: pd.DataFrame
    diverged: list[float]
    best: CurvePoint


class SlicesInfo(NamedTuple):
    level: float
    slices: list[Slice]


class LanguagesInfo(NamedTuple):
    """`trials`: columns almr, lr, original, additional, optimal (no other trial is better in both languages).

    `base` is the base model's loss per language, None where unknown; `winner` is the predicted mean and its interval;
    `labels` names the languages.
    """

    trials: pd.DataFrame
    base: dict[str, float] | None
    winner: dict[str, tuple[float, Interval]]
    level: float
    labels: dict[str, str]


class Curve(NamedTuple):
    """One trial's logged training loss (n,) against tokens (n,), as logged: not smoothed."""

    almr: float
    lr: float
    status: str
    tokens: Array
    loss: Array


class TrainingInfo(NamedTuple):
    """`lowest` and `highest` bound the losses of the trials that did not diverge; None where there are none."""

    curves: list[Curve]
    lowest: float | None
    highest: float | None


def objective_info(fit: Fit) -> ObjectiveInfo:
    used = tables.usable(fit.table)
    measured = used.assign(objective=tables.objective(used, fit.weights))
    cells = measured.groupby(["almr", "lr"])["objective"].mean().reset_index()
    excluded = fit.table[fit.table["excluded"].notna()]
    diverged = excluded["status"] == "diverged"
    optima = fit.optima
    return ObjectiveInfo(
        optima.almr,
        optima.lr,
        optima.mean,
        _levels(np.concatenate([optima.mean.ravel(), cells["objective"]])),
        cells,
        excluded[diverged][["almr", "lr"]],
        excluded[~diverged][["almr", "lr"]],
        fit.file.curve,
        fit.file.winner,
    )


def _levels(losses: Array) -> Array:
    """Steps over the lowest loss that grow geometrically: even steps would drown the bowl in the slopes around it."""
    lowest, span = losses.min(), max(float(np.ptp(losses)), 1e-6)
    return np.concatenate([[lowest], lowest + np.geomspace(span / 200, span, LEVELS)])


def slices_info(fit: Fit) -> SlicesInfo:
    used = tables.usable(fit.table)
    measured = used.assign(objective=tables.objective(used, fit.weights))
    return SlicesInfo(fit.file.winner.level, [_slice(fit, measured, almr) for almr in sorted(used["almr"].unique())])


def _slice(fit: Fit, measured: pd.DataFrame, almr: float) -> Slice:
    level = fit.file.winner.level
    optima = Optima.of(fit.objective, np.array([almr]), measured["lr"].to_numpy(float), level)
    half = norm.ppf((1 + level) / 2) * optima.sd[0]
    here = fit.table[fit.table["almr"] == almr]
    return Slice(
        float(almr),
        optima.lr,
        optima.mean[0],
        optima.mean[0] - half,
        optima.mean[0] + half,
        measured[measured["almr"] == almr][["lr", "objective"]],
        here.loc[here["status"] == "diverged", "lr"].tolist(),
        optima.curve()[0],
    )


def languages_info(fit: Fit) -> LanguagesInfo:
    used = tables.usable(fit.table)
    trials = used[["almr", "lr"]].assign(**{name: used[f"loss_{name}"].astype(float) for name in LANGUAGES})
    base = fit.table[[f"base_loss_{name}" for name in LANGUAGES]].astype(float).dropna()
    return LanguagesInfo(
        trials.assign(optimal=_optimal(trials[list(LANGUAGES)].to_numpy(float))),
        {name: float(base[f"base_loss_{name}"].iloc[0]) for name in LANGUAGES} if len(base) else None,
        {name: _predicted(fit, name) for name in LANGUAGES},
        fit.file.winner.level,
        {name: getattr(fit.study.corpora, name).language or name for name in LANGUAGES},
    )


def _optimal(losses: Array) -> list[bool]:
    """Of n trials (n, 2): no other is at least as good in both languages and better in one."""
    return [not ((losses <= one).all(axis=1) & (losses < one).any(axis=1)).any() for one in losses]


def _predicted(fit: Fit, language: str) -> tuple[float, Interval]:
    winner = fit.file.winner
    mean, sd = fit.surfaces[language].predict([winner.almr], [winner.lr])
    half = norm.ppf((1 + winner.level) / 2) * sd[0]
    return float(mean[0]), Interval(low=float(mean[0] - half), high=float(mean[0] + half))


def training_info(fit: Fit, run: Path | None) -> TrainingInfo:
    """The curves of every trial that logged any; a log that is missing or cut short is no error."""
    curves = list(_curves(fit.table, run / "trials")) if run else []
    sound = [curve.loss[np.isfinite(curve.loss)] for curve in curves if curve.status != "diverged"]
    losses = np.concatenate(sound) if sound else np.array([])
    if not len(losses):
        return TrainingInfo(curves, None, None)
    room = 0.08 * float(np.ptp(losses)) or 0.1
    return TrainingInfo(curves, float(losses.min()) - room, float(losses.max()) + room)


def _curves(table: pd.DataFrame, trials: Path) -> Iterator[Curve]:
    for row in table.sort_values(["almr", "lr", "seed"]).to_dict("records"):
        points = list(_logged(trials / row["trial_id"] / "metrics.jsonl"))
        if points:
            tokens, loss = np.array(points, float).T
            yield Curve(row["almr"], row["lr"], row["status"], tokens, loss)


def _logged(log: Path) -> Iterator[tuple[float, float]]:
    """(tokens, loss) of each line. An evaluation has no loss, and a killed trial leaves its last line half written."""
    for text in log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []:
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict) and line.get("loss") is not None:
            yield line["tokens"], line["loss"]


def scientific(value: float) -> str:
    """An LR as text: 1e-4, 3.2e-5."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def short(tokens: float) -> str:
    """A count of tokens as text: 50k, 1.5B."""
    size, unit = next(((s, u) for s, u in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")) if tokens >= s), (1, ""))
    return f"{tokens / size:.3g}{unit}"
