"""Colours, panels, legends and ticks that all figures share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps, font_manager, style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from analysis.fit_file.winner import Interval
from sweep.study import numbers as formats

ALMR, LR = "ALMR (share of training tokens)", "peak LR"
INK, FIT, WINNER, DIVERGED, UNUSED = "#1a1a1a", "#31688e", "#ff7f0e", "#d62728", "#8a8a8a"
WARM = ListedColormap(
    colormaps["plasma"](np.linspace(0, 0.85, 256))
)  # without its yellow, which cannot be seen on white
OUTLINE = [withStroke(linewidth=3.5, foreground="white")]
BELOW: dict[str, Any] = {"loc": "outside lower center", "ncols": 4, "fontsize": 8.5, "columnspacing": 1.5}
CROSS: dict[str, Any] = {"marker": "x", "c": DIVERGED, "zorder": 3, "path_effects": OUTLINE, "label": "diverged"}
FORBIDDEN: dict[str, Any] = {"fc": "#e6e6e6", "hatch": "///", "lw": 0}
FONT = "DejaVu Sans"  # comes with matplotlib: the same on every machine
TEXT = {"font.family": FONT, "font.size": 9.5, "figure.labelsize": 9.5, "axes.titlesize": 10.5, "legend.frameon": False}
LINES = {"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#555555", "grid.color": "#e2e2e2"}
HATCH = {"hatch.color": "#bdbdbd", "hatch.linewidth": 0.6}
styled = style.context(["default", TEXT, LINES, HATCH])  # a user's own matplotlibrc must not change a figure


def panels(almrs: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """A figure with one panel for each ALMR and shared axes, at most four panels in a row."""
    rows = -(-len(almrs) // 4) or 1
    columns = -(-len(almrs) // rows) or 1
    figure = Figure(figsize=(max(6.0, 1.2 + 2.6 * columns), 1.4 + 2.3 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    every = list(grid.ravel())
    for axes, almr in zip(every, almrs, strict=False):
        axes.grid(visible=True)
        axes.set_title(f"ALMR {formats.almr(almr)}")
    for spare in every[len(almrs) :]:
        spare.remove()
    for axes in every[max(len(almrs) - columns, 0) : len(almrs)]:
        axes.tick_params(labelbottom=True)  # the lowest panel of its column, also above a missing panel
    return figure, every[: len(almrs)]


def legend(panels: Sequence[Axes]) -> tuple[list[Any], list[str]]:
    """Each label once, from the first panel that has it."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)


def legend_above(figure: Figure, panels: Sequence[Axes]) -> None:
    columns = int(figure.get_figwidth() / 1.75)  # inches of the longest label
    figure.legend(*legend(panels), **BELOW | {"loc": "outside upper center", "ncols": columns})


def interval_label(level: float, kind: str = "interval") -> str:
    return f"its {formats.percent(level)} {kind}"


def intervals(axes: Axes, across: tuple[float, Interval], up: tuple[float, Interval]) -> None:
    """A cross of two intervals; an interval need not contain its value."""
    (x, wide), (y, high) = across, up
    axes.hlines(y, wide.low, wide.high, color=WINNER, lw=2.2, zorder=4, path_effects=OUTLINE)
    axes.vlines(x, high.low, high.high, color=WINNER, lw=2.2, zorder=4, path_effects=OUTLINE)


def scale(values: Iterable[float], kind: type[Normalize]) -> Normalize:
    """A colour scale over the values, with a margin around a single value."""
    low, high = min(values), max(values)
    return kind(low, high) if low < high else kind(low / 1.5, high * 1.5 or 1)


def lr_ticks(axis: Axis, lrs: Sequence[float], most: int) -> None:
    """Ticks at the tried LRs, at most `most` of them."""
    measured = sorted(set(lrs))
    measured = measured[:: -(-len(measured) // most)]
    axis.set_ticks(measured, labels=[formats.lr(lr) for lr in measured])
    axis.set_ticks([], minor=True)


def safe(text: str, instead: str) -> str:
    """A user's text without mathtext, or `instead` where the font lacks a glyph."""
    glyphs = font_manager.get_font(font_manager.findfont(FONT)).get_charmap()
    return text.replace("$", r"\$") if all(ord(character) in glyphs for character in text) else instead
