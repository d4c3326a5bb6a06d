"""Search strategies on one measured table: regret and the error of the curve, against trials."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from analysis.figures.data.simulation import SimulationInfo, StrategyLine
from analysis.figures.drawing import style

OURS = "surface"
# The markers distinguish them also without colour.
OTHERS = {"tpe": (style.FIT, "s"), "gp": (style.DIVERGED, "v"), "random": (style.BETTER, "^"), "grid": (style.INK, "D")}


@style.styled
def draw_simulation(info: SimulationInfo) -> Figure:
    figure = style.canvas(0.42, narrow=0.7)
    left, right = figure.subplots(1, 2)
    for line in info.lines:
        _draw_line(left, right, line)
    _draw_regret_frame(left, info)
    if info.whole is not None:
        right.axhline(info.whole, color=style.INK, lw=1, ls=":", label="fit to all cells")
    right.set(title="Error of the curve of best LR", ylabel="rms of ln(LR / the row's own best LR)")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.grid(visible=True)
        axes.set(xlabel="trials", xticks=sorted({int(n) for line in info.lines for n in line.trials}))
    style.legend_above(figure, [left, right])
    return figure


def _draw_line(left: Axes, right: Axes, line: StrategyLine) -> None:
    colour, marker = OTHERS.get(line.strategy, (style.WINNER, "o"))
    looks: dict[str, Any] = {"color": colour, "marker": marker, "ms": 4, "lw": 1.8 if line.strategy == OURS else 1.1}
    left.plot(line.trials, line.mean, label=line.strategy, zorder=3, clip_on=False, **looks)
    left.plot(line.trials, line.p90, color=colour, lw=0.9, ls="--", alpha=0.8)
    right.plot(line.trials, line.curve_error, zorder=3, **looks)


def _draw_regret_frame(axes: Axes, info: SimulationInfo) -> None:
    axes.plot([], [], color=style.UNUSED, lw=0.9, ls="--", label="90th percentile")
    if info.noise_percent:
        axes.axhline(info.noise_percent, color=style.UNUSED, lw=1, ls=":", label="noise (sd) of a cell near the best")
    axes.set(yscale="log", title=f"Regret of the best trial found, mean of {info.repeats}")
    axes.set(ylabel=f"% of the best loss; 0 is drawn at {info.floor:g}")
    axes.set_ylim(bottom=info.floor)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda percent, _: f"{percent:g}")
    axes.set_yticks([], minor=True)
