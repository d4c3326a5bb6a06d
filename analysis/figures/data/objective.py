"""The objective over ALMR and LR, with the winner and the trials."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd

from analysis.decision.curve import divergence_edge
from analysis.figures.data import loss_and_guard
from analysis.fit.fit import Fit
from analysis.fit_file.curve import AlmrPoint, CurvePoint
from analysis.fit_file.result import FitResult
from analysis.fit_file.winner import RegionRow, Winner
from analysis.surfaces.kernels import Array
from analysis.table import table as tables

LEVELS = 14
Point = TypeVar("Point")


class ObjectiveInfo(NamedTuple):
    """The mean loss (A, L) over `almr` (A,) and `lr` (L,), and the trials.

    `quantity` names the loss. `margin` (A, L) is below 0 where a guard of a loss forbids a point; None without a
    guard. `levels`: the bounds of the colours. `cells`: columns almr, lr, loss (the mean over seeds) and allowed;
    `diverged` and `unused`: almr, lr. `region`, `curve` and `best_almr` are in pieces, because they may have gaps, and
    empty where only one ALMR or LR was tried. `best_almr` leaves out LRs whose best ALMR is at an end of the range, and
    is empty under a guard, whose edge it would follow. `edge`: (ALMR, LR) along the divergence edge, empty where no
    trial diverged.
    """

    quantity: str
    almr: Array
    lr: Array
    mean: Array
    margin: Array | None
    levels: Array
    cells: pd.DataFrame
    diverged: pd.DataFrame
    unused: pd.DataFrame
    region: list[list[RegionRow]]
    curve: list[list[CurvePoint]]
    best_almr: list[list[AlmrPoint]]
    edge: list[tuple[float, float]]
    winner: Winner


def objective_info(fit: Fit) -> ObjectiveInfo:
    lattice, file = fit.lattice, fit.file
    mean, margin = loss_and_guard.unguarded(fit).optima(lattice).mean, loss_and_guard.margin(fit, lattice)
    cells = _cells(fit)
    excluded, diverged = fit.table[fit.table["excluded"].notna()], tables.diverged(fit.table)
    allowed = mean if margin is None else mean[margin >= 0]
    return ObjectiveInfo(
        quantity=loss_and_guard.quantity(fit),
        almr=lattice.almr,
        lr=lattice.lr,
        mean=mean,
        margin=margin,
        levels=_levels(np.concatenate([allowed.ravel(), cells.loc[cells["allowed"], "loss"]])),
        cells=cells,
        diverged=diverged[["almr", "lr"]],
        unused=excluded.drop(diverged.index)[["almr", "lr"]],
        region=_pieces(file.region.rows if file.region else [], lambda row: row.almr),
        curve=_pieces(file.curve if _both_varied(fit) else [], lambda point: point.almr),
        best_almr=_best_almr(fit),
        edge=edge_line(fit, lattice.almr),
        winner=file.winner,
    )


def _cells(fit: Fit) -> pd.DataFrame:
    losses = [f"loss_{language}" for language in fit.surfaces]
    means = loss_and_guard.usable_trials(fit).groupby(["almr", "lr"])[losses].mean().reset_index()
    return loss_and_guard.with_losses(fit, means)[["almr", "lr", "loss", "allowed"]]


def _best_almr(fit: Fit) -> list[list[AlmrPoint]]:
    if fit.file.bounds or not _both_varied(fit):
        return []
    return _pieces([point for point in fit.file.best_almr if not point.at_edge], lambda point: float(np.log(point.lr)))


def _both_varied(fit: Fit) -> bool:
    return min(len(fit.lattice.almr), len(fit.lattice.lr)) > 1


def _levels(losses: Array) -> Array:
    """Steps above the lowest loss that grow geometrically: even steps would not show the basin."""
    lowest, span = losses.min(), max(float(np.ptp(losses)), 1e-6)
    return np.concatenate([[lowest], lowest + np.geomspace(span / 200, span, LEVELS)])


def _pieces(points: Sequence[Point], place: Callable[[Point], float]) -> list[list[Point]]:
    """Points of a regular lattice, in order of their place, split where one is missing."""
    steps = np.diff([place(point) for point in points])
    gaps = np.flatnonzero(steps > 1.5 * steps.min(initial=np.inf)) + 1
    ends = [0, *gaps.tolist(), len(points)]
    return [list(points[a:b]) for a, b in itertools.pairwise(ends) if b > a]


def edge_line(fit: FitResult, almrs: Iterable[float]) -> list[tuple[float, float]]:
    """(ALMR, LR) along the divergence edge; empty where no trial diverged."""
    if not fit.file.divergence.trials:
        return []
    edges = [(float(almr), divergence_edge(fit.table, float(almr), fit.file.winner.lr).lr) for almr in almrs]
    return [(almr, lr) for almr, lr in edges if lr is not None]
