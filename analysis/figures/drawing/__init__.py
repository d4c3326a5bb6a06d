"""The figures of a fitted study: `draw_*` draws the data of `*_info`. Only this package imports matplotlib.

Losses are in nats per token and LRs are peak LRs. Only `Figure` objects are used, so no display is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure as Figure  # for annotations elsewhere
from threadpoolctl import threadpool_limits

from analysis.figures.data.along import along_info
from analysis.figures.data.languages import front_info, languages_info
from analysis.figures.data.objective import objective_info
from analysis.figures.data.scores import scores_info
from analysis.figures.data.slices import slices_info
from analysis.figures.data.training import training_info
from analysis.figures.data.transfer import transfer_info
from analysis.figures.drawing.along import draw_along
from analysis.figures.drawing.files import Kind, encoded
from analysis.figures.drawing.languages import draw_front, draw_languages
from analysis.figures.drawing.objective import draw_objective
from analysis.figures.drawing.scores import draw_scores
from analysis.figures.drawing.slices import draw_slices
from analysis.figures.drawing.training import draw_training
from analysis.figures.drawing.transfer import draw_transfer
from analysis.fit.fit import Fit
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import RunFiles
from sweep.study.tables.written import csv

DRAW: dict[str, Callable[[Any], Figure]] = {
    "along": draw_along,
    "objective": draw_objective,
    "slices": draw_slices,
    "languages": draw_languages,
    "front": draw_front,
    "transfer": draw_transfer,
    "scores": draw_scores,
    "training": draw_training,
}


def contents(fit: Fit, run: Path | None) -> dict[str, Any]:
    """What each figure shows, by its name: of those that the fit has data for. `run`: the folder with the training
    curves.
    """
    with threadpool_limits(1):  # as the fit
        found = _contents(fit, run)
    return {name: info for name, info in found.items() if info is not None}


def _contents(fit: Fit, run: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = {"along": along_info(fit)}
    if found["along"] is None:
        found |= {"objective": objective_info(fit), "slices": slices_info(fit)}
        found |= {"languages": languages_info(fit), "front": front_info(fit)} if fit.file.front else {}
    found |= {"transfer": transfer_info(fit), "scores": scores_info(fit)}
    if (training := training_info(fit, run)).curves:
        found["training"] = training
    return found


def figures(fit: Fit, run: Path | None) -> dict[str, Figure]:
    """The figures that the fit has data for, by name. `run`: the folder with the training curves."""
    return {name: DRAW[name](info) for name, info in contents(fit, run).items()}


def write_figures(
    fit: Fit,
    run: Path,
    kinds: Sequence[Kind | Literal["csv"]] = ("png", "csv"),
    folder: Path | None = None,
    subject: str | None = None,
) -> list[Path]:
    """Write each figure as `run/figures/<name>.png` and its data as `<name>.csv`, or other `kinds`, each atomically.

    `folder`: in place of `run/figures`. `subject`: what SVG and PDF say of where they are from.
    """
    into, written = folder or RunFiles(run).figures, []
    for name, info in contents(fit, run).items():
        figure = DRAW[name](info)
        for kind in kinds:
            content = csv(info.table()) if kind == "csv" else encoded(figure, kind, subject)
            written.append(write_atomically(into / f"{name}.{kind}", content))
    return written
