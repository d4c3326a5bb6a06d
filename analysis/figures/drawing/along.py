"""The loss along a hyper-parameter that was fitted alone."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.data.along import AlongInfo
from analysis.figures.drawing import fonts, style


@style.styled
def draw_along(info: AlongInfo) -> Figure:
    figure = style.canvas(0.5, narrow=0.75)
    axes = figure.subplots()
    axes.grid(visible=True)
    band = style.interval_label(info.level, "band")
    axes.plot(info.x, info.mean, color=style.FIT, label="fitted mean")
    axes.fill_between(info.x, info.low, info.high, color=style.FIT, alpha=0.25, lw=0, label=band)
    ends = info.interval.low, info.interval.high
    axes.axvline(info.best, color=style.WINNER, ls="--", label=f"best {info.name.upper()}")
    axes.axvspan(*ends, color=style.WINNER, alpha=0.25, lw=0, label=style.interval_label(info.level))
    _draw_trials(axes, info)
    axes.set(ylim=info.frame, ylabel=f"{fonts.written(info.quantity, 'held-out loss')} ({info.unit})")
    tried = [*info.trials["x"], *info.diverged]
    if info.name == "lr":
        axes.set(xscale="log", xlabel=style.LR, xlim=(min(tried) / 1.2, max(tried) * 1.2))
        style.lr_ticks(axes.xaxis, most=6 if style.is_narrow(figure) else 12)
    else:
        axes.set(xlabel=style.ALMR)
    style.legend_above(figure, [axes])
    return figure


def _draw_trials(axes: Axes, info: AlongInfo) -> None:
    axes.scatter(info.trials["x"], info.trials["loss"], s=16, c=style.INK, zorder=3, label="trial")
    across = axes.get_xaxis_transform()
    above = info.trials.loc[info.trials["loss"] > info.frame[1], "x"].tolist()
    looks: dict[str, Any] = {"marker": "^", "s": 18, "c": style.UNUSED, "zorder": 3, "label": "trial above the frame"}
    if above:
        axes.scatter(above, [0.97] * len(above), transform=across, **looks)
    if info.diverged:
        crosses: dict[str, Any] = {"s": 24, "lw": 1.5} | style.CROSS
        axes.scatter(info.diverged, [0.88] * len(info.diverged), transform=across, **crosses)
