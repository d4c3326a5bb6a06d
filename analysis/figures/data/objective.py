"""The objective over ALMR and LR, the winner on it, and what was measured."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd

from analysis.decision.divergence import divergence_edge
from analysis.figures.data import minimised
from analysis.fit.fit import Fit
from analysis.fit_file.curve import AlmrPoint, CurvePoint
from analysis.fit_file.winner import RegionRow, Winner
from analysis.surfaces.kernels import Array
from analysis.table import table as tables

LEVELS = 14
Point = TypeVar("Point")


class ObjectiveInfo(NamedTuple):
    """The mean objective (A, L) over `almr` (A,) and `lr` (L,), and what was measured.

    `quantity` says what is minimised. `safety` (A, L) is below 0 where the forgetting guard forbids a point; None
    without a guard. `levels` are the bounds of the colours. `cells` has columns almr, lr, loss (the mean over seeds)
    and allowed; `diverged` and `unused` have almr, lr. `region`, `curve` and `best_almr` are in pieces, because none
    of them need go on without a gap, and are empty where a dial has one value. `best_almr` leaves out the LRs whose
    best ALMR is an end of the range, and is empty under a guard, along whose edge it would run. `edge` is (ALMR, LR)
    along the divergence edge, empty where nothing diverged.
    """

    quantity: str
    almr: Array
    lr: Array
    mean: Array
    safety: Array | None
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
    mean, safety = minimised.unguarded(fit).optima(lattice).mean, minimised.safety(fit, lattice)
    cells = _cells(fit)
    excluded, diverged = fit.table[fit.table["excluded"].notna()], tables.diverged(fit.table)
    allowed = mean if safety is None else mean[safety >= 0]
    return ObjectiveInfo(
        minimised.quantity(fit),
        lattice.almr,
        lattice.lr,
        mean,
        safety,
        _levels(np.concatenate([allowed.ravel(), cells.loc[cells["allowed"], "loss"]])),
        cells,
        diverged[["almr", "lr"]],
        excluded.drop(diverged.index)[["almr", "lr"]],
        _pieces(file.region.rows if file.region else [], lambda row: row.almr),
        _pieces(file.curve if _two_dials(fit) else [], lambda point: point.almr),
        _best_almr(fit),
        _edge(fit),
        file.winner,
    )


def _cells(fit: Fit) -> pd.DataFrame:
    losses = [f"loss_{language}" for language in fit.surfaces]
    means = minimised.trials(fit).groupby(["almr", "lr"])[losses].mean().reset_index()
    return minimised.judged(fit, means)[["almr", "lr", "loss", "allowed"]]


def _best_almr(fit: Fit) -> list[list[AlmrPoint]]:
    if fit.file.guard or not _two_dials(fit):
        return []
    return _pieces([point for point in fit.file.best_almr if not point.at_edge], lambda point: float(np.log(point.lr)))


def _two_dials(fit: Fit) -> bool:
    return min(len(fit.lattice.almr), len(fit.lattice.lr)) > 1


def _levels(losses: Array) -> Array:
    """Steps over the lowest loss that grow geometrically: even steps would drown the bowl in the slopes around it."""
    lowest, span = losses.min(), max(float(np.ptp(losses)), 1e-6)
    return np.concatenate([[lowest], lowest + np.geomspace(span / 200, span, LEVELS)])


def _pieces(points: Sequence[Point], place: Callable[[Point], float]) -> list[list[Point]]:
    """Points in order of their place, cut wherever one of a regular lattice is missing."""
    steps = np.diff([place(point) for point in points])
    gaps = np.flatnonzero(steps > 1.5 * steps.min(initial=np.inf)) + 1
    ends = [0, *gaps.tolist(), len(points)]
    return [list(points[a:b]) for a, b in itertools.pairwise(ends) if b > a]


def _edge(fit: Fit) -> list[tuple[float, float]]:
    if not fit.file.divergence.trials:
        return []
    almrs = [float(almr) for almr in fit.lattice.almr]
    edges = [(almr, divergence_edge(fit.table, almr, fit.file.winner.lr).lr) for almr in almrs]
    return [(almr, lr) for almr, lr in edges if lr is not None]
