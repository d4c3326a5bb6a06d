"""The objective over ALMR and LR."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, to_rgba
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from analysis.figures.data.objective import ObjectiveInfo
from analysis.figures.drawing import fonts, style
from analysis.surfaces.kernels import Array
from sweep.study import numbers as formats

STRIPE = np.array([-0.01, 0.01])


@style.styled
def draw_objective(info: ObjectiveInfo) -> Figure:
    figure = style.canvas(0.6, narrow=0.85)
    axes = figure.subplots()
    axes.use_sticky_edges = False  # else trials on the edge would be cut in half
    colours: dict[str, Any] = {"norm": BoundaryNorm(info.levels, 256)}
    almr, lr, mean = _at_least_two(info, np.clip(info.mean, info.levels[0], info.levels[-1]))
    shown = axes.contourf(almr, lr, mean.T, levels=info.levels, **colours)
    axes.contour(almr, lr, mean.T, levels=info.levels, colors="white", linewidths=0.4, alpha=0.6, zorder=1)
    _draw_forbidden(axes, info)
    _draw_lines(axes, info)
    _draw_trials(axes, info, colours)
    _draw_winner(axes, info)
    axes.set(xlabel=style.ALMR, ylabel=style.LR, yscale="log")
    axes.update_datalim([(np.median(almr) + d, np.median(lr) * (1 + d)) for d in (-0.1, 0.1)])  # room beside a stripe
    axes.autoscale_view()
    style.lr_ticks(axes.yaxis, most=12)
    _draw_scale(figure, info, shown)
    style.legend_above(figure, [axes])
    return figure


def _draw_scale(figure: Figure, info: ObjectiveInfo, shown: ContourSet) -> None:
    """In nats above the lowest loss: the differences are what one looks for."""
    lowest, *above = info.levels
    label = f"{fonts.written(info.quantity, 'held-out loss')}\nabove {formats.number(lowest)} ({info.unit})"
    bar = figure.colorbar(shown, label=label)
    bar.set_ticks([lowest, *above], labels=["0", *(f"{level - lowest:.2g}" for level in above)])


def _at_least_two(info: ObjectiveInfo, values: Array) -> tuple[Array, Array, Array]:
    """Contours need two values on each axis: a single ALMR or LR is drawn as a narrow stripe."""
    almr, lr = info.almr, info.lr
    if len(almr) == 1:
        almr, values = almr + STRIPE, values.repeat(2, axis=0)
    if len(lr) == 1:
        lr, values = lr * np.array([0.97, 1.03]), values.repeat(2, axis=1)
    return almr, lr, values


def _draw_forbidden(axes: Axes, info: ObjectiveInfo) -> None:
    if info.margin is None or (info.margin >= 0).all():
        return
    almr, lr, margin = _at_least_two(info, info.margin)
    colour, hatch = style.FORBIDDEN["fc"], style.FORBIDDEN["hatch"]
    axes.contourf(almr, lr, margin.T, levels=[-2, 0], colors=[colour], hatches=[hatch])
    axes.contour(almr, lr, margin.T, levels=[0], colors=style.UNUSED, linewidths=1)
    axes.add_patch(Polygon([(almr[0], lr[0])], label="over a guard", **style.FORBIDDEN))


def _draw_lines(axes: Axes, info: ObjectiveInfo) -> None:
    for piece in info.curve:
        almr, best, low, high = np.array([(p.almr, p.lr, p.lr_low, p.lr_high) for p in piece]).T
        axes.plot(almr, best, color=style.INK, label="best LR at each ALMR", path_effects=style.OUTLINE)
        label = style.interval_label(info.winner.level)
        axes.fill_between(almr, low, high, fc=(1, 1, 1, 0.35), ec=(0, 0, 0, 0.5), lw=0.7, label=label)
    for points in info.best_almr:
        almr, lr = np.array([(p.almr, p.lr) for p in points]).T
        axes.plot(almr, lr, color=style.INK, lw=0.9, ls=(0, (4, 2)), label="best ALMR at each LR")
    if info.edge:
        almr, lr = np.array(info.edge).T
        almr, lr = (almr + STRIPE, lr.repeat(2)) if len(almr) == 1 else (almr, lr)
        axes.plot(almr, lr, color=style.DIVERGED, ls=":", label="divergence edge", path_effects=style.OUTLINE)


def _draw_trials(axes: Axes, info: ObjectiveInfo, colours: dict[str, Any]) -> None:
    """Where the surface fits, a trial has the surface's colour and only its ring is seen."""
    cells, over = info.cells[info.cells["allowed"]], info.cells[~info.cells["allowed"]]
    measured: dict[str, Any] = {"c": cells["loss"], "ec": "white", "label": "trial"} | colours
    axes.scatter(cells["almr"], cells["lr"], s=24, lw=0.9, zorder=3, path_effects=style.RING, **measured)
    for rows, marker, label in ((over, "s", "trial over the guard"), (info.unused, "^", "trial not fitted")):
        if len(rows):
            looks: dict[str, Any] = {"marker": marker, "fc": "none", "ec": style.INK, "lw": 0.9, "label": label}
            axes.scatter(rows["almr"], rows["lr"], s=24, zorder=3, path_effects=style.OUTLINE, **looks)
    if len(info.diverged):
        axes.scatter(info.diverged["almr"], info.diverged["lr"], s=28, lw=1.5, **style.CROSS)


def _draw_winner(axes: Axes, info: ObjectiveInfo) -> None:
    winner = info.winner
    within = to_rgba(style.WINNER, 0.25)  # matplotlib before 3.10 takes no pair with a colour of the style file
    looks: dict[str, Any] = {"fc": within, "ec": style.WINNER, "lw": 1.2, "zorder": 3.5}
    for piece in info.region:
        almr, low, high = np.array([(row.almr, row.lr_low, row.lr_high) for row in piece]).T
        label = f"{formats.level(winner.level)} joint region"
        axes.fill(np.concatenate([almr, almr[::-1]]), np.concatenate([low, high[::-1]]), label=label, **looks)
    style.intervals(axes, (winner.almr, winner.almr_interval), (winner.lr, winner.lr_interval))
    label = f"winner, {formats.level(winner.level)} intervals"
    star: dict[str, Any] = {"s": 70, "marker": "*", "c": style.WINNER, "ec": style.INK, "lw": 0.5, "zorder": 5}
    axes.scatter(winner.almr, winner.lr, label=label, **star)
