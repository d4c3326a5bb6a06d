"""The divergence edge: the LR above which trials diverge, as a function of ALMR, and its distance from the winner."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.svm import SVC

from analysis.fit_file.curve import DivergenceEdge
from analysis.table import table as tables


def divergence_edge(table: pd.DataFrame, almr: float, lr: float) -> DivergenceEdge:
    """The edge at ALMR `almr`, and its ratio to `lr`.

    The edge is the maximum-margin line in (ALMR, ln LR) between the trials that diverged and those that did not.
    """
    used, lost = tables.usable(table), tables.diverged(table)
    if not len(lost):
        edge: float | None = float(used["lr"].max())
    else:
        edge = _edge_at(almr, used, lost)
    return DivergenceEdge(trials=len(lost), lr=edge, factor=None if edge is None else edge / lr)


def _edge_at(almr: float, used: pd.DataFrame, lost: pd.DataFrame) -> float | None:
    """The LR of the line at `almr`, within the tried LRs; None where the diverged trials lie at the lower LRs."""
    both = pd.concat([used, lost])
    x = np.stack([both["almr"].to_numpy(float), np.log(both["lr"].to_numpy(float))], axis=1)
    middle, spread = x.mean(axis=0), np.where(np.ptp(x, axis=0) > 0, np.ptp(x, axis=0), 1.0)
    diverged = np.repeat([0, 1], [len(used), len(lost)])
    line = SVC(kernel="linear", C=1e3, class_weight="balanced").fit((x - middle) / spread, diverged)
    by_almr, by_lr = line.coef_[0] / spread
    if by_lr <= 0:
        return None
    edge = middle[1] - (line.intercept_[0] + by_almr * (almr - middle[0])) / by_lr
    return float(np.exp(np.clip(edge, x[:, 1].min(), x[:, 1].max())))
