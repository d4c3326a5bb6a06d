"""The figures of a fitted study: `draw_*` draws the data of `*_info`. Only this package imports matplotlib.

Losses are in nats per token and LRs are peak LRs. Only `Figure` objects are used, so no display is needed.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from analysis.figures.data.along import along_info
from analysis.figures.data.languages import languages_info
from analysis.figures.data.objective import objective_info
from analysis.figures.data.scores import scores_info
from analysis.figures.data.slices import slices_info
from analysis.figures.data.training import training_info
from analysis.figures.data.transfer import transfer_info
from analysis.figures.drawing.along import draw_along
from analysis.figures.drawing.languages import draw_front, draw_languages
from analysis.figures.drawing.objective import draw_objective
from analysis.figures.drawing.scores import draw_scores
from analysis.figures.drawing.slices import draw_slices
from analysis.figures.drawing.style import styled
from analysis.figures.drawing.training import draw_training
from analysis.figures.drawing.transfer import draw_transfer
from analysis.fit.fit import Fit
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import RunFiles

DOTS_PER_INCH = 160


def figures(fit: Fit, run: Path | None) -> dict[str, Figure]:
    """The figures that the fit has data for, by name. `run`: the folder with the training curves."""
    drawn = _over_both(fit) if (alone := along_info(fit)) is None else {"along": draw_along(alone)}
    if transfer := transfer_info(fit):
        drawn["transfer"] = draw_transfer(transfer)
    if scores := scores_info(fit):
        drawn["scores"] = draw_scores(scores)
    training = training_info(fit, run)
    return drawn | ({"training": draw_training(training)} if training.curves else {})


def _over_both(fit: Fit) -> dict[str, Figure]:
    """The figures over ALMR and LR."""
    drawn = {
        "objective": draw_objective(objective_info(fit)),
        "slices": draw_slices(slices_info(fit)),
    }
    if fit.file.front:
        drawn["languages"] = draw_languages(languages_info(fit))
        drawn["front"] = draw_front(fit)
    return drawn


def write_figures(fit: Fit, run: Path) -> list[Path]:
    """Write `run/figures/<name>.png`, each atomically."""
    return [write_atomically(RunFiles(run).figure(name), png(figure)) for name, figure in figures(fit, run).items()]


@styled
def png(figure: Figure) -> bytes:
    content = BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH)
    return content.getvalue()
