"""The trade-off between the languages' losses, and the winner at each weight."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis.figures.data.languages import LanguagesInfo
from analysis.figures.drawing import style
from analysis.fit.fit import Fit
from sweep.study import LANGUAGES


@style.styled
def draw_languages(info: LanguagesInfo) -> Figure:
    figure = Figure(figsize=(8, 5.8), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=True)
    _draw_trials(axes, info)
    _draw_front(axes, info)
    _draw_winner(axes, info)
    original, additional = (style.safe(info.labels[name], name) for name in ("original", "additional"))
    axes.set(title=f"Trade-off: {original} against {additional}")
    axes.set(xlabel=f"{original}: held-out loss (nats per token)")
    axes.set(ylabel=f"{additional}: held-out loss (nats per token)", xlim=info.frame["original"])
    axes.set_ylim(info.frame["additional"])
    figure.colorbar(axes.collections[0], label=style.ALMR)
    figure.legend(*style.legend([axes]), **style.BELOW)
    return figure


def _draw_trials(axes: Axes, info: LanguagesInfo) -> None:
    trials = info.trials
    log_lr = np.log(trials["lr"].to_numpy(float))
    size = 25 + 90 * (log_lr - log_lr.min()) / (np.ptp(log_lr) or 1)
    looks: dict[str, Any] = {"c": trials["almr"], "norm": style.scale(trials["almr"], Normalize), "ec": "white"}
    label = f"trial (larger: higher LR{f'; {info.outside} outside' if info.outside else ''})"
    axes.scatter(trials["original"], trials["additional"], s=size, lw=0.8, zorder=3, label=label, **looks)
    best = trials[trials["optimal"]].sort_values("original")
    axes.plot(best["original"], best["additional"], color=style.INK, lw=0.8, alpha=0.7, label="trials that none beats")


def _draw_front(axes: Axes, info: LanguagesInfo) -> None:
    x, y = np.array([(point.losses["original"], point.losses["additional"]) for point in info.front]).T
    outlined: dict[str, Any] = {"zorder": 3.5, "path_effects": style.OUTLINE}
    axes.plot(x, y, color=style.WINNER, lw=1.8, label="winner at each weight", **outlined)
    if info.bound is not None:
        axes.axvline(info.bound, color=style.DIVERGED, lw=1.4, ls="--", label="guard")


def _draw_winner(axes: Axes, info: LanguagesInfo) -> None:
    x, y = ((info.winner[name].mean, info.winner[name].interval) for name in ("original", "additional"))
    style.intervals(axes, x, y)
    axes.scatter(x[0], y[0], s=80, marker="D", c=style.WINNER, ec="white", zorder=5, label="winner (predicted)")
    if info.base:
        base = info.base["original"], info.base["additional"]
        axes.scatter(*base, s=210, marker="*", color=style.DIVERGED, ec="white", zorder=4, label="base model")


@style.styled
def draw_front(fit: Fit) -> Figure:
    """The winner at each weight of the additional language, from 0 to 1."""
    almr, lr = ((float(axis[0]), float(axis[-1])) for axis in (fit.lattice.almr, fit.lattice.lr))
    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    _draw_values(above, fit, "almr", almr)
    _draw_values(below, fit, "lr", lr)
    above.set(title="Winner at each weight of the languages", ylabel="ALMR", ylim=_room(*almr))
    below.set(yscale="log", ylabel=style.LR, ylim=np.exp(_room(*np.log(lr))))
    style.lr_ticks(below.yaxis, [*np.geomspace(*lr, 6)], most=6)
    original, additional = (style.safe(fit.label(name), name) for name in ("original", "additional"))
    below.set_xlabel(f"weight of {additional} (0: only {original} counts)")
    figure.legend(*style.legend([above]), **style.BELOW)
    return figure


def _draw_values(axes: Axes, fit: Fit, field: str, tried: tuple[float, float]) -> None:
    axes.grid(visible=True)
    front, own = fit.file.front, fit.file.weights  # no weights under a forgetting guard
    weights, values = [point.weight for point in front], [getattr(point, field) for point in front]
    ends = [getattr(point, f"{field}_interval") for point in front]
    label = style.interval_label(fit.file.winner.level)
    axes.plot(weights, values, color=style.FIT, lw=1.8, marker="o", ms=4, label="winner")
    axes.fill_between(
        weights, [e.low for e in ends], [e.high for e in ends], color=style.FIT, alpha=0.25, lw=0, label=label
    )
    for end in tried:
        axes.axhline(end, color=style.UNUSED, lw=1, ls=":", label="edge of the tried range")
    if own and sum(own.get(name, 0.0) for name in LANGUAGES) > 1 - 1e-9:  # not of sources
        axes.axvline(own["additional"], color=style.WINNER, lw=1.5, label="weight of this fit")


def _room(low: float, high: float) -> tuple[float, float]:
    room = 0.06 * (high - low) or 0.05
    return low - room, high + room
