"""The objective over ALMR and LR, with the winner and the trials."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd

from analysis.decision.curve import divergence_edge
from analysis.decision.objectives import weighted
from analysis.figures.data import loss_and_guard
from analysis.figures.data.labelled import labelled
from analysis.fit.fit import Fit
from analysis.fit_file.curve import AlmrPoint, CurvePoint
from analysis.fit_file.result import FitResult
from analysis.fit_file.winner import RegionRow, Winner
from analysis.surfaces.kernels import Array
from analysis.table import table as tables
from sweep.study import Schema

FINER = 4  # steps of the drawn surface for one of the fit's lattice, whose own contours show corners
LEVELS_PER_SPAN = 200  # the lowest contour is at most this part of the span above the lowest loss
AXES, ENDS = ("almr", "lr"), ("low", "high")
Point = TypeVar("Point")


class ObjectiveInfo(NamedTuple):
    """The mean loss (A, L) over `almr` (A,) and `lr` (L,), and the trials.

    `quantity` names the loss. `margin` (A, L) is below 0 where a guard of a loss forbids a point; None without a
    guard. `levels`: the bounds of the colours, the lowest loss first. `cells`: columns almr, lr, loss (the mean over
    seeds) and allowed;
    `diverged` and `unused`: almr, lr. `region`, `curve` and `best_almr` are in pieces, because they may have gaps, and
    empty where only one ALMR or LR was tried. `best_almr` leaves out LRs whose best ALMR is at an end of the range, and
    is empty under a guard, whose edge it would follow. `edge`: (ALMR, LR) along the divergence edge, empty where no
    trial diverged.
    """

    quantity: str
    unit: str
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

    def table(self) -> pd.DataFrame:
        """Columns what, almr, lr, loss, allowed, and the intervals' ends; of the surface, every FINER-th point."""
        return labelled(
            {
                "surface": self._surface(),
                "trial": self.cells,
                "diverged": self.diverged,
                "not fitted": self.unused,
                "best LR at each ALMR": _rows(self.curve),
                "best ALMR at each LR": _rows(self.best_almr),
                "joint region": _rows(self.region),
                "divergence edge": pd.DataFrame(self.edge, columns=["almr", "lr"]),
                "winner": self._winner(),
            }
        )

    def _surface(self) -> pd.DataFrame:
        almr, lr = np.meshgrid(self.almr[::FINER], self.lr[::FINER], indexing="ij")
        rows = pd.DataFrame({"almr": almr.ravel(), "lr": lr.ravel(), "loss": self.mean[::FINER, ::FINER].ravel()})
        return rows if self.margin is None else rows.assign(allowed=self.margin[::FINER, ::FINER].ravel() >= 0)

    def _winner(self) -> pd.DataFrame:
        one = self.winner
        ends = {f"{name}_{end}": getattr(getattr(one, f"{name}_interval"), end) for name in AXES for end in ENDS}
        return pd.DataFrame([{"almr": one.almr, "lr": one.lr, "loss": one.objective} | ends])


def _rows(pieces: Sequence[Sequence[Schema]]) -> pd.DataFrame:
    return pd.DataFrame([point.model_dump() for piece in pieces for point in piece])


def objective_info(fit: Fit) -> ObjectiveInfo:
    lattice, file = replace(fit.lattice.coarse, draws={}).finer(FINER), fit.file
    mean = weighted(loss_and_guard.unguarded(fit).loss_weights, lattice.mean)
    margin = loss_and_guard.margin(fit, lattice)
    cells = _cells(fit)
    excluded, diverged = fit.table[fit.table["excluded"].notna()], tables.diverged(fit.table)
    allowed = mean if margin is None else mean[margin >= 0]
    return ObjectiveInfo(
        quantity=loss_and_guard.quantity(fit),
        unit=fit.loss_unit,
        almr=lattice.almr,
        lr=lattice.lr,
        mean=mean,
        margin=margin,
        levels=colour_levels(np.concatenate([allowed.ravel(), cells.loc[cells["allowed"], "loss"]])),
        cells=cells,
        diverged=diverged[["almr", "lr"]],
        unused=excluded.drop(diverged.index)[["almr", "lr"]],
        region=_pieces(file.region.rows if file.region else [], lambda row: row.almr),
        curve=_pieces(file.curve if _both_varied(fit) else [], lambda point: point.almr),
        best_almr=_best_almr(fit),
        edge=edge_line(fit, fit.lattice.coarse.almr),
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


def colour_levels(losses: Array) -> Array:
    """The lowest loss, and 1, 2 and 5 of each power of ten above it: even steps would not show the basin."""
    lowest, span = losses.min(), max(float(np.ptp(losses)), 1e-6)
    first = math.floor(math.log10(span / LEVELS_PER_SPAN))
    steps = np.array([digit * 10.0**power for power in range(first, first + 5) for digit in (1, 2, 5)])
    inside = steps[(steps >= span / LEVELS_PER_SPAN / 2.5) & (steps < span)]
    return np.concatenate([[lowest], lowest + inside, [lowest + steps[steps >= span][0]]])


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
