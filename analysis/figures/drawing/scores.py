"""The change of each score against the base model, with its interval."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.data.scores import ScoreChange, ScoresInfo
from analysis.figures.drawing import style
from sweep.study import numbers as formats

BETTER, WORSE, OPEN = "#3d9963", style.DIVERGED, style.UNUSED


@style.styled
def draw_scores(info: ScoresInfo) -> Figure:
    """One row for each score; scores on other scales than 0 to 1 have a panel of their own."""
    rows = [len(scale) for scale in info.scales]
    figure = Figure(figsize=(7.5, 1.5 + 0.28 * sum(rows) + 0.5 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), 1, squeeze=False, height_ratios=[count + 1 for count in rows]).ravel()
    for axes, scale in zip(panels, info.scales, strict=True):
        _draw(axes, scale)
    figure.supxlabel(
        f"change against the base model (right: better), with {formats.percent(info.level)} intervals of each alone"
    )
    style.legend_above(figure, list(panels))
    return figure


def _draw(axes: Axes, scale: Sequence[ScoreChange]) -> None:
    axes.axvline(0, color=style.INK, lw=1)
    for row, one in enumerate(scale):
        colour, label = _look(one)
        axes.hlines(row, one.interval.low, one.interval.high, color=colour, lw=2)
        marker = "D" if one.mean else "o"
        axes.plot(one.change, row, marker, color=colour, mec="white", ms=7 if one.mean else 6, label=label)
    names = [style.safe(one.name, f"score {row + 1}") for row, one in enumerate(scale)]
    axes.set_yticks(range(len(scale)), labels=names)
    axes.set_ylim(len(scale) - 0.5, -0.5)
    axes.grid(visible=True, axis="x")


def _look(one: ScoreChange) -> tuple[str, str]:
    if not one.decided:
        return OPEN, "not distinguishable"
    return (BETTER, "better") if one.change > 0 else (WORSE, "worse")
