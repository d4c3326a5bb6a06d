"""The training loss of every trial that logged one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.fit.fit import Fit
from analysis.surfaces.kernels import Array
from sweep.study.files.layout import RunFiles
from sweep.study.files.reader import json_lines

MOST_ROWS = 20_000  # of the curves' table: trials/*/metrics.jsonl has every point


class LossCurve(NamedTuple):
    """One trial's training loss (n,) against tokens (n,), as logged: not smoothed."""

    trial_id: str
    almr: float
    lr: float
    status: str
    tokens: Array
    loss: Array


class TrainingInfo(NamedTuple):
    """`lowest` and `highest` bound the losses of the trials that did not diverge; None without such a trial."""

    curves: list[LossCurve]
    lowest: float | None
    highest: float | None
    unit: str = "nats per token"

    def table(self) -> pd.DataFrame:
        """Columns what, trial_id, almr, lr, tokens, loss; of many long curves, every n-th point (MOST_ROWS)."""
        every = -(-sum(len(curve.loss) for curve in self.curves) // MOST_ROWS) or 1
        parts = [
            pd.DataFrame({"tokens": curve.tokens[::every], "loss": curve.loss[::every]}).assign(
                what=curve.status, trial_id=curve.trial_id, almr=curve.almr, lr=curve.lr
            )
            for curve in self.curves
        ]
        names = ["what", "trial_id", "almr", "lr", "tokens", "loss"]
        return pd.concat(parts, ignore_index=True)[names] if parts else pd.DataFrame(columns=names)


def training_info(fit: Fit, run: Path | None) -> TrainingInfo:
    """The curve of each trial of a study that logged one; a missing or truncated log is no error."""
    made = of_curves(list(_curves(fit.table, RunFiles(run))) if run and fit.study else [])
    return made._replace(unit=fit.loss_unit)


def of_curves(curves: list[LossCurve]) -> TrainingInfo:
    """These curves, with the range of their losses."""
    sound = [curve.loss for curve in curves if curve.status != "diverged"]
    losses = np.concatenate(sound) if sound else np.array([])
    if not len(losses):
        return TrainingInfo(curves, None, None)
    room = 0.08 * float(np.ptp(losses)) or 0.1
    return TrainingInfo(curves, float(losses.min()) - room, float(losses.max()) + room)


def _curves(table: pd.DataFrame, files: RunFiles) -> Iterator[LossCurve]:
    for row in table.sort_values(["almr", "lr", "seed"]).to_dict("records"):
        points = list(logged(files.trial(row["trial_id"]).metrics))
        if points:
            tokens, loss = np.array(points, float).T
            yield LossCurve(
                trial_id=row["trial_id"], almr=row["almr"], lr=row["lr"], status=row["status"], tokens=tokens, loss=loss
            )


def logged(log: Path) -> Iterator[tuple[float, float]]:
    """(tokens, loss) of each line of the main run. Evaluations have no loss; lines of a branch name its horizon."""
    for line in json_lines(log, "tokens", "loss"):
        if None not in (line.get("tokens"), line.get("loss")) and "horizon" not in line:
            yield line["tokens"], line["loss"]
