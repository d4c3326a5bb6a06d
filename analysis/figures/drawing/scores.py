"""The change of each score against the base model, with its interval."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.data.scores import ScoreChange, ScoresInfo
from analysis.figures.drawing import fonts, style
from sweep.study import numbers as formats

LOOKS = {"better": (style.BETTER, "^"), "worse": (style.DIVERGED, "v"), "not distinguishable": (style.UNUSED, "o")}


@style.styled
def draw_scores(info: ScoresInfo) -> Figure:
    """One row for each score; scores on other scales than 0 to 1 have a panel of their own."""
    rows = [len(scale) for scale in info.scales]
    figure = style.canvas(0, extra=0.4 + 0.2 * sum(rows) + 0.4 * len(rows))
    panels = figure.subplots(len(rows), 1, squeeze=False, height_ratios=[count + 1 for count in rows]).ravel()
    for axes, scale in zip(panels, info.scales, strict=True):
        _draw(axes, scale)
        axes.locator_params(axis="x", nbins=4 if style.is_narrow(figure) else 9)
    better = "\n(right: better)" if style.is_narrow(figure) else " (right: better)"
    figure.supxlabel(f"change against the base model{better}, with {formats.level(info.level)} intervals")
    style.legend_above(figure, list(panels))
    return figure


def _draw(axes: Axes, scale: Sequence[ScoreChange]) -> None:
    axes.axvline(0, color=style.INK, lw=1)
    for row, one in enumerate(scale):
        label = _verdict(one)
        colour, marker = LOOKS[label]
        axes.hlines(row, one.interval.low, one.interval.high, color=colour)
        axes.plot(one.change, row, marker, color=colour, mec="white", mew=0.5, ms=6, label=label)
    names = [fonts.written(one.name, f"score {row + 1}") for row, one in enumerate(scale)]
    axes.set_yticks(range(len(scale)), labels=names)
    for tick, one in zip(axes.get_yticklabels(), scale, strict=True):
        tick.set_fontweight("bold" if one.mean else "normal")  # means of several tasks
    axes.set_ylim(len(scale) - 0.5, -0.5)
    axes.grid(visible=True, axis="x")


def _verdict(one: ScoreChange) -> str:
    if not one.decided:
        return "not distinguishable"
    return "better" if one.change > 0 else "worse"
