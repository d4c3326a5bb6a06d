"""The loss along a hyper-parameter that was fitted alone."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from analysis.figures.data.along import AlongInfo
from analysis.figures.drawing import style


@style.styled
def draw_along(info: AlongInfo) -> Figure:
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=True)
    axes.plot(info.x, info.mean, color=style.FIT, lw=1.8, label="fitted mean")
    axes.fill_between(
        info.x, info.low, info.high, color=style.FIT, alpha=0.25, lw=0, label=style.interval_label(info.level, "band")
    )
    axes.axvline(info.best, color=style.WINNER, lw=1.5, label=f"best {info.name.upper()}")
    ends = info.interval.low, info.interval.high
    axes.axvspan(*ends, color=style.WINNER, alpha=0.18, lw=0, label=style.interval_label(info.level))
    axes.scatter(info.trials["x"], info.trials["loss"], s=22, c=style.INK, zorder=3, label="trial")
    across = axes.get_xaxis_transform()
    above = info.trials.loc[info.trials["loss"] > info.frame[1], "x"].tolist()
    looks: dict[str, Any] = {"marker": "^", "s": 26, "c": style.UNUSED, "zorder": 3, "label": "trial above the frame"}
    if above:
        axes.scatter(above, [0.97] * len(above), transform=across, **looks)
    if info.diverged:
        crosses: dict[str, Any] = {"s": 32, "lw": 1.8} | style.CROSS
        axes.scatter(info.diverged, [0.88] * len(info.diverged), transform=across, **crosses)
    axes.set(ylim=info.frame, ylabel=f"{style.safe(info.quantity, 'held-out loss')} (nats per token)")
    tried = [*info.trials["x"], *info.diverged]
    if info.name == "lr":
        axes.set(xscale="log", xlabel=style.LR, xlim=(min(tried) / 1.2, max(tried) * 1.2))
        style.lr_ticks(axes.xaxis, tried, most=8)
    else:
        axes.set(xlabel=style.ALMR)
    style.legend_above(figure, [axes])
    return figure
