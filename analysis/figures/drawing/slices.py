"""The loss along the LR, at each tried ALMR."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.data.slices import Slice, SlicesInfo
from analysis.figures.drawing import fonts, style


@style.styled
def draw_slices(info: SlicesInfo) -> Figure:
    figure, panels = style.panels([one.almr for one in info.slices])
    for axes, one in zip(panels, info.slices, strict=True):
        _draw_slice(axes, one, info.level)
        _draw_trials(axes, one, info.frame[1])
    lrs = [lr for one in info.slices for lr in (*one.trials["lr"], *one.diverged)] or info.slices[0].lr.tolist()
    panels[0].set_xlim(min(lrs) / 1.2, max(lrs) * 1.2)  # before the scale: a single LR does not determine one
    panels[0].set(xscale="log", ylim=info.frame)
    style.lr_ticks(panels[0].xaxis, most=3)
    left_out = info.tried > len(info.slices)
    some = f"\n({len(info.slices)} of {info.tried} tried ALMRs, evenly chosen)" if left_out else ""
    figure.supxlabel(f"{style.LR}{some}")
    figure.supylabel(f"{fonts.written(info.quantity, 'held-out loss')} ({info.unit})")
    style.legend_above(figure, panels)
    return figure


def _draw_slice(axes: Axes, one: Slice, level: float) -> None:
    axes.plot(one.lr, np.where(one.allowed, one.mean, np.nan), color=style.FIT, label="fitted mean")
    axes.fill_between(
        one.lr, one.low, one.high, color=style.FIT, alpha=0.25, lw=0, label=style.interval_label(level, "band")
    )
    if not one.allowed.all():
        _draw_forbidden(axes, one)
    if one.best:
        ends, label = (one.best.lr_low, one.best.lr_high), style.interval_label(level)
        axes.axvline(one.best.lr, color=style.WINNER, lw=1.2, ls="--", label="best LR")
        axes.axvspan(*ends, color=style.WINNER, alpha=0.25, lw=0, label=label)


def _draw_trials(axes: Axes, one: Slice, highest: float) -> None:
    trials, over = one.trials[one.trials["allowed"]], one.trials[~one.trials["allowed"]]
    axes.scatter(trials["lr"], trials["loss"], s=10, c=style.INK, zorder=3, label="trial")
    if len(over):
        looks: dict[str, Any] = {"fc": "white", "ec": style.INK, "lw": 0.8, "label": "trial over the guard"}
        axes.scatter(over["lr"], over["loss"], s=12, marker="s", zorder=3, **looks)
    above = one.trials.loc[one.trials["loss"] > highest, "lr"].tolist()
    marks: tuple[tuple[list[float], float, dict[str, Any]], ...] = (
        (above, 0.95, {"marker": "^", "s": 16, "c": style.UNUSED, "zorder": 3, "label": "trial above the frame"}),
        (one.diverged, 0.84, {"s": 20, "lw": 1.4} | style.CROSS),
    )
    for lrs, height, looks in marks:
        if lrs:
            axes.scatter(lrs, [height] * len(lrs), transform=axes.get_xaxis_transform(), **looks)


def _draw_forbidden(axes: Axes, one: Slice) -> None:
    axes.plot(one.lr, np.where(one.allowed, np.nan, one.mean), color=style.FIT, lw=1.1, ls="--")
    looks: dict[str, Any] = {
        "where": np.logical_not(one.allowed),
        "step": "mid",
        "fc": style.FORBIDDEN["fc"],
        "lw": 0,
        "zorder": 0,
    }
    across = axes.get_xaxis_transform()
    axes.fill_between(one.lr, 0, 1, transform=across, label="over a guard", **looks)
