"""The training curves, as logged."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from analysis.figures.data.training import LossCurve, TrainingInfo
from analysis.figures.drawing import style
from sweep.study import numbers as formats


@style.styled
def draw_training(info: TrainingInfo) -> Figure:
    almrs = sorted({curve.almr for curve in info.curves})
    figure, panels = style.panels(almrs)
    if not info.curves:
        figure.text(0.5, 0.5, "no training curves were logged", ha="center")
        return figure
    colours = ScalarMappable(style.scale([curve.lr for curve in info.curves], LogNorm), style.WARM)
    for curve in info.curves:
        _draw_curve(panels[almrs.index(curve.almr)], curve, colours)
    panels[0].set_ylim(info.lowest, info.highest)
    panels[0].xaxis.set_major_formatter(lambda tokens, _: formats.tokens(tokens))
    bar = figure.colorbar(colours, ax=panels, label=style.LR)
    style.lr_ticks(bar.ax.yaxis, [curve.lr for curve in info.curves], most=12)
    figure.supxlabel("training tokens")
    figure.supylabel("training loss (nats per token), as logged")
    style.legend_above(figure, panels)
    return figure


def _draw_curve(axes: Axes, curve: LossCurve, colours: ScalarMappable) -> None:
    looks: dict[str, Any] = {
        "complete": {"color": colours.to_rgba(np.array([curve.lr]))[0], "lw": 1.2},
        "diverged": {"color": style.DIVERGED, "lw": 1.3, "ls": "--", "zorder": 3, "label": "diverged"},
        "failed": {"color": style.UNUSED, "lw": 1.2, "ls": ":", "label": "failed"},
    }
    axes.plot(curve.tokens, curve.loss, **looks[curve.status])
