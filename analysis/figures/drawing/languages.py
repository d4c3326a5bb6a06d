"""The trade-off between the languages' losses, and the winner at each weight."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis.figures.data.languages import FrontInfo, LanguagesInfo
from analysis.figures.drawing import fonts, style


@style.styled
def draw_languages(info: LanguagesInfo) -> Figure:
    figure = style.canvas(0.58, narrow=0.85)
    axes = figure.subplots()
    axes.grid(visible=True)
    colours = _draw_trials(axes, info)
    _draw_front(axes, info)
    _draw_winner(axes, info)
    original, additional = (fonts.written(info.labels[name], name) for name in ("original", "additional"))
    axes.set(xlabel=f"{original}: held-out loss ({info.unit})")
    axes.set(ylabel=f"{additional}: held-out loss ({info.unit})", xlim=info.frame["original"])
    axes.set_ylim(info.frame["additional"])
    figure.colorbar(colours, label=style.ALMR)
    style.legend_above(figure, [axes])
    return figure


def _draw_trials(axes: Axes, info: LanguagesInfo) -> PathCollection:
    trials = info.trials
    log_lr = np.log(trials["lr"].to_numpy(float))
    size = 12 + 55 * (log_lr - log_lr.min()) / (np.ptp(log_lr) or 1)
    looks: dict[str, Any] = {"c": trials["almr"], "norm": style.scale(trials["almr"], Normalize), "ec": style.INK}
    label = f"trial (larger: higher LR{f'; {info.outside} outside' if info.outside else ''})"
    shown = axes.scatter(trials["original"], trials["additional"], s=size, lw=0.5, zorder=3, label=label, **looks)
    best = trials[trials["optimal"]].sort_values("original")
    looks = {"color": style.INK, "lw": 0.8, "ls": ":", "zorder": 2.5, "label": "trials that none beats"}
    axes.plot(best["original"], best["additional"], **looks)
    return shown


def _draw_front(axes: Axes, info: LanguagesInfo) -> None:
    x, y = np.array([(point.losses["original"], point.losses["additional"]) for point in info.front]).T
    axes.plot(x, y, color=style.WINNER, zorder=2, label="winner at each weight")  # below the trials
    if info.bound is not None:
        axes.axvline(info.bound, color=style.DIVERGED, ls="--", label="guard")


def _draw_winner(axes: Axes, info: LanguagesInfo) -> None:
    x, y = ((info.winner[name].mean, info.winner[name].interval) for name in ("original", "additional"))
    style.intervals(axes, x, y)
    looks: dict[str, Any] = {"marker": "D", "s": 34, "c": style.WINNER, "ec": style.INK, "lw": 0.7, "zorder": 5}
    axes.scatter(x[0], y[0], label="winner (predicted)", **looks)
    if info.base:
        base = info.base["original"], info.base["additional"]
        looks |= {"marker": "*", "s": 95, "c": style.DIVERGED, "zorder": 4}
        axes.scatter(*base, label="base model", **looks)


@style.styled
def draw_front(info: FrontInfo) -> Figure:
    """The winner at each weight of the additional language, from 0 to 1."""
    figure = style.canvas(0.55, narrow=0.9)
    above, below = figure.subplots(2, 1, sharex=True)
    almr, lr = info.tried["almr"], info.tried["lr"]
    _draw_values(above, info, "almr")
    _draw_values(below, info, "lr")
    above.set(ylabel="ALMR", ylim=_room(*almr))
    below.set(yscale="log", ylabel=style.LR, ylim=np.exp(_room(*np.log(lr))))
    style.lr_ticks(below.yaxis, most=8)
    original, additional = (fonts.written(info.labels[name], name) for name in ("original", "additional"))
    below.set_xlabel(f"weight of {additional} (0: only {original} counts)")
    figure.align_ylabels()
    style.legend_above(figure, [above])
    return figure


def _draw_values(axes: Axes, info: FrontInfo, field: str) -> None:
    axes.grid(visible=True)
    weights, values = [point.weight for point in info.front], [getattr(point, field) for point in info.front]
    ends = [getattr(point, f"{field}_interval") for point in info.front]
    low, high, label = [e.low for e in ends], [e.high for e in ends], style.interval_label(info.level)
    axes.plot(weights, values, color=style.FIT, marker="o", ms=3, label="winner")
    axes.fill_between(weights, low, high, color=style.FIT, alpha=0.25, lw=0, label=label)
    for end in info.tried[field]:
        axes.axhline(end, color=style.UNUSED, lw=1, ls=":", label="edge of the tried range")
    if info.own is not None:
        axes.axvline(info.own, color=style.WINNER, ls="--", label="weight of this fit")


def _room(low: float, high: float) -> tuple[float, float]:
    room = 0.06 * (high - low) or 0.05
    return low - room, high + room
