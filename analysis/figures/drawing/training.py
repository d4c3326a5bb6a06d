"""The training curves, as logged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from analysis.figures.data.training import LossCurve, TrainingInfo
from analysis.figures.drawing import style
from sweep.study import numbers as formats

MARKS = "osD^v<>PXp"  # at the end of the curves: of so many LRs, each has its own


@style.styled
def draw_training(info: TrainingInfo) -> Figure:
    almrs = sorted({curve.almr for curve in info.curves})
    figure, panels = style.panels(almrs)
    if not info.curves:
        figure.text(0.5, 0.5, "no training curves were logged", ha="center")
        return figure
    looks = _looks(info.curves)
    for look in looks.values():  # so that the legend has the LRs in their order, and once
        panels[0].plot([], [], **look)
    for curve in info.curves:
        _draw_curve(panels[almrs.index(curve.almr)], curve, looks)
    panels[0].set_ylim(info.lowest, info.highest)
    panels[0].xaxis.set_major_formatter(lambda tokens, _: formats.tokens(tokens))
    panels[0].locator_params(axis="x", nbins=4)
    if len(looks) > len(MARKS):
        bar = figure.colorbar(_colours(info.curves), ax=panels, label=style.LR)
        style.lr_ticks(bar.ax.yaxis, most=12)
    figure.supxlabel("training tokens")
    figure.supylabel(f"training loss ({info.unit}), as logged")
    style.legend_above(figure, panels)
    return figure


def _looks(curves: Sequence[LossCurve]) -> dict[float, dict[str, Any]]:
    """How the curves of each LR are drawn: of many LRs in the colours of a scale alone."""
    lrs, colours = sorted({curve.lr for curve in curves if curve.status == "complete"}), _colours(curves)
    looks = {lr: {"color": colours.to_rgba(np.array([lr]))[0], "lw": 0.9} for lr in lrs}
    if len(lrs) > len(MARKS):
        return looks
    marks = zip(lrs, MARKS, strict=False)
    return {lr: looks[lr] | {"marker": mark, "ms": 3, "label": f"LR {formats.lr(lr)}"} for lr, mark in marks}


def _colours(curves: Sequence[LossCurve]) -> ScalarMappable:
    return ScalarMappable(style.scale([curve.lr for curve in curves], LogNorm), style.on_white())


def _draw_curve(axes: Axes, curve: LossCurve, looks: dict[float, dict[str, Any]]) -> None:
    others: dict[str, dict[str, Any]] = {
        "diverged": {"color": style.DIVERGED, "lw": 1.1, "ls": "--", "zorder": 3, "label": "diverged"},
        "failed": {"color": style.UNUSED, "lw": 1.0, "ls": ":", "label": "failed"},
    }
    look = others[curve.status] if curve.status in others else looks[curve.lr] | {"label": None}
    axes.plot(curve.tokens, curve.loss, markevery=[len(curve.loss) - 1], **look)
