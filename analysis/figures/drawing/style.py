"""The look that all figures share: `almr.mplstyle`, sizes, legends, ticks and marks."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any, ParamSpec

import numpy as np
from matplotlib import colormaps, rc_params_from_file, rcParams, style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullFormatter

from analysis.figures.drawing import fonts
from analysis.fit_file.winner import Interval
from sweep.study import numbers as formats

Given = ParamSpec("Given")
STYLE = Path(__file__).with_name("almr.mplstyle")
ALMR, LR = "ALMR (share of training tokens)", "peak LR"
INK, FIT, WINNER, DIVERGED, UNUSED, BETTER = "#1a1a1a", "C0", "C1", "C2", "C3", "C4"  # C0 and so on: of the style file
OUTLINE = [withStroke(linewidth=2.6, foreground="white")]
RING = [withStroke(linewidth=1.8, foreground=INK)]  # of a white edge, which alone cannot be seen on white
CROSS: dict[str, Any] = {"marker": "x", "c": DIVERGED, "zorder": 3, "path_effects": OUTLINE, "label": "diverged"}
FORBIDDEN: dict[str, Any] = {"fc": "#e6e6e6", "hatch": "////", "lw": 0}
NARROW = 5.0  # inches: what is less wide is for one of two columns
PANEL = 1.55  # inches of width, at least
LETTER, HANDLE, LINE = 0.55, 4.4, 1.5  # of a legend, in font sizes: width of a letter, of a mark, and height of a row

_settings: ContextVar[Mapping[str, Any]] = ContextVar("settings", default=MappingProxyType({}))


@functools.cache
def _ours() -> Mapping[str, Any]:
    return {str(name): value for name, value in rc_params_from_file(STYLE, use_default_template=False).items()}


@contextmanager
def look(settings: Mapping[str, Any]) -> Iterator[None]:
    """Draw with these settings of matplotlib in place of those of the style file."""
    before = _settings.set(settings)
    try:
        yield
    finally:
        _settings.reset(before)


@contextmanager
def applied() -> Iterator[None]:
    """The style of the figures. A user's own matplotlibrc must not change one."""
    with style.context(["default", dict(_ours()), dict(_settings.get())]):
        yield


def styled(draw: Callable[Given, Figure]) -> Callable[Given, Figure]:
    """A function that draws in the style, and whose figure has fonts for all of its text."""

    @functools.wraps(draw)
    def drawn(*args: Given.args, **kwargs: Given.kwargs) -> Figure:
        with applied():
            figure = draw(*args, **kwargs)
            fonts.complete(figure)
            return figure

    return drawn


def canvas(wide: float, narrow: float | None = None, extra: float = 0.0) -> Figure:
    """A figure as wide as the style says. `wide`: its height in widths, and `narrow` that for one of two columns;
    `extra` inches are added.
    """
    width = float(rcParams["figure.figsize"][0])
    height = wide if narrow is None or width >= NARROW else narrow
    return Figure(figsize=(width, height * width + extra), layout="constrained")


def is_narrow(figure: Figure) -> bool:
    """Whether it is for one of two columns."""
    return bool(figure.get_figwidth() < NARROW)


def panels(almrs: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """A figure with one panel for each ALMR and shared axes, four in a row, or two in a narrow figure."""
    most = min(4, max(1, int(rcParams["figure.figsize"][0] / PANEL)))
    rows = -(-len(almrs) // most) or 1
    columns = -(-len(almrs) // rows) or 1
    figure = canvas(0, extra=0.5 + 1.35 * rows)
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
    """Each label once, in the order in which they were drawn."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)


def legend_above(figure: Figure, panels: Sequence[Axes]) -> None:
    """The legend of all panels, in as few rows as fit, for which the figure grows."""
    handles, labels = legend(panels)
    size = rcParams["legend.fontsize"] / 72
    rows = next(rows for rows in range(1, len(labels) + 2) if _width(labels, rows) * size < figure.get_figwidth())
    figure.set_figheight(figure.get_figheight() + rows * LINE * size)
    figure.legend(handles, labels, loc="outside upper center", ncols=-(-len(labels) // rows) or 1)


def _width(labels: Sequence[str], rows: int) -> float:
    """Of a legend in so many rows, in font sizes; 0 where each label has a row."""
    if rows >= len(labels):
        return 0.0
    columns = (labels[start : start + rows] for start in range(0, len(labels), rows))
    return sum(HANDLE + LETTER * max(map(len, column)) for column in columns)


def interval_label(level: float, kind: str = "interval") -> str:
    return f"its {formats.level(level)} {kind}"


def intervals(axes: Axes, across: tuple[float, Interval], up: tuple[float, Interval]) -> None:
    """A cross of two intervals; an interval need not contain its value."""
    (x, wide), (y, high) = across, up
    looks: dict[str, Any] = {"color": WINNER, "lw": 1.6, "zorder": 4, "path_effects": OUTLINE}
    axes.hlines(y, wide.low, wide.high, **looks)
    axes.vlines(x, high.low, high.high, **looks)


def scale(values: Iterable[float], kind: type[Normalize]) -> Normalize:
    """A colour scale over the values, with a margin around a single value."""
    low, high = min(values), max(values)
    return kind(low, high) if low < high else kind(low / 1.5, high * 1.5 or 1)


def on_white() -> Colormap:
    """The colour map without its light end, which cannot be seen on white."""
    return ListedColormap(colormaps[rcParams["image.cmap"]](np.linspace(0, 0.85, 256)))


def lr_ticks(axis: Axis, most: int) -> None:
    """Ticks at 1, 2 and 5 of each power of ten, and labels of at most `most` of them. Needs the axis's final range."""
    low, high = sorted(axis.get_view_interval())
    inside = _one_two_five(low, high)
    tens = [lr for lr in inside if math.isclose(lr, 10.0 ** round(math.log10(lr)))]
    major = inside if len(inside) <= most or len(tens) < 2 else tens
    major = major[:: -(-len(major) // most) or 1]
    if len(major) < 2:  # of so short a range, the ends that a reader needs
        inside = major = [float(f"{lr:.3g}") for lr in np.geomspace(low, high, 5)[1:-1:2]]
    axis.set_ticks(major, labels=[formats.lr(lr) for lr in major])
    axis.set_ticks([lr for lr in inside if lr not in major], minor=True)
    axis.set_minor_formatter(NullFormatter())


def _one_two_five(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    return [lr for lr in every if low <= lr <= high]
