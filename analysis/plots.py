"""The figures of a fitted study: `draw_*` draws what `*_info` gathered. The only module that imports matplotlib.

Losses are in nats per token and LRs are peak LRs. Only `Figure` objects are used, so that no display is needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, font_manager, style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from analysis import plot_data as data
from analysis.fit import Fit
from analysis.surface import Array
from analysis.winner import Interval

OBJECTIVE, ALMR, LR = "weighted held-out loss (nats per token)", "ALMR (share of training tokens)", "peak LR"
INK, FIT, WINNER, DIVERGED, UNUSED = "#1a1a1a", "#31688e", "#ff7f0e", "#d62728", "#8a8a8a"
WARM = ListedColormap(colormaps["plasma"](np.linspace(0, 0.85, 256)))  # its last yellow cannot be seen on white
OUTLINE = [withStroke(linewidth=3.5, foreground="white")]
BELOW: dict[str, Any] = {"loc": "outside lower center", "ncols": 4, "fontsize": 8.5}
ABOVE: dict[str, Any] = BELOW | {"loc": "outside upper center", "ncols": 6}
CROSS: dict[str, Any] = {"marker": "x", "c": DIVERGED, "zorder": 3, "path_effects": OUTLINE, "label": "diverged"}
DOTS_PER_INCH = 160
FONT = "DejaVu Sans"  # matplotlib brings it: the same on every machine
TEXT = {"font.family": FONT, "font.size": 9.5, "figure.labelsize": 9.5, "axes.titlesize": 10.5, "legend.frameon": False}
LINES = {"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#555555", "grid.color": "#e2e2e2"}
styled = style.context(["default", TEXT, LINES])  # a user's own matplotlibrc must not change a figure


def figures(fit: Fit, run: Path | None) -> dict[str, Figure]:
    """Every figure by name. `run` is where the training curves are read; without it that figure is empty."""
    return {
        "objective": draw_objective(data.objective_info(fit)),
        "slices": draw_slices(data.slices_info(fit)),
        "languages": draw_languages(data.languages_info(fit)),
        "training": draw_training(data.training_info(fit, run)),
    }


def write_figures(fit: Fit, run: Path) -> list[Path]:
    """Write `run/figures/<name>.png`; each appears whole or not at all."""
    folder = run / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    return [write_whole(png(figure), folder / f"{name}.png") for name, figure in figures(fit, run).items()]


def write_whole(content: bytes, path: Path) -> Path:
    """The path, which appears whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    return partial.replace(path)


@styled
def png(figure: Figure) -> bytes:
    content = BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH)
    return content.getvalue()


@styled
def draw_objective(info: data.ObjectiveInfo) -> Figure:
    figure = Figure(figsize=(8, 5.6), layout="constrained")
    axes = figure.subplots()
    axes.use_sticky_edges = False  # or trials on the edge would be cut in half
    colours: dict[str, Any] = {"cmap": "viridis", "norm": BoundaryNorm(info.levels, 256)}
    almr, lr, mean = _at_least_two(info)
    shown = axes.contourf(almr, lr, mean.T, levels=info.levels, **colours)
    axes.contour(almr, lr, mean.T, levels=info.levels, colors="white", linewidths=0.4, alpha=0.5)
    _draw_curve(axes, info)
    _draw_trials(axes, info, colours)
    _draw_winner(axes, info)
    axes.set(title="Objective over ALMR and LR", xlabel=ALMR, ylabel=LR, yscale="log")
    axes.update_datalim([(np.median(almr) + d, np.median(lr) * (1 + d)) for d in (-0.1, 0.1)])  # room beside a stripe
    axes.autoscale_view()
    _lr_ticks(axes.yaxis, [*info.cells["lr"], *info.diverged["lr"], *info.unused["lr"]], most=12)
    figure.colorbar(shown, label=OBJECTIVE, format="%.3f", ticks=info.levels)
    figure.legend(*_legend([axes]), **BELOW)
    return figure


def _at_least_two(info: data.ObjectiveInfo) -> tuple[Array, Array, Array]:
    """Contours need two values of each dial: a dial with one is drawn as a narrow stripe."""
    almr, lr, mean = info.almr, info.lr, info.mean
    if len(almr) == 1:
        almr, mean = almr + np.array([-0.01, 0.01]), mean.repeat(2, axis=0)
    if len(lr) == 1:
        lr, mean = lr * np.array([0.97, 1.03]), mean.repeat(2, axis=1)
    return almr, lr, mean


def _draw_curve(axes: Axes, info: data.ObjectiveInfo) -> None:
    almr, best, low, high = np.array([(p.almr, p.lr, p.lr_low, p.lr_high) for p in info.curve]).T
    axes.plot(almr, best, color=INK, lw=1.8, label="best LR for each ALMR", path_effects=OUTLINE)
    label = f"its {info.winner.level:.0%} interval"
    axes.fill_between(almr, low, high, fc=(1, 1, 1, 0.35), ec=(0, 0, 0, 0.5), lw=0.7, label=label)


def _draw_trials(axes: Axes, info: data.ObjectiveInfo, colours: dict[str, Any]) -> None:
    """Above a surface that fits well a trial is only a ring, because both have the same colour."""
    cells, unused, diverged = info.cells, info.unused, info.diverged
    measured: dict[str, Any] = {"c": cells["objective"], "ec": "white", "label": "trial"} | colours
    axes.scatter(cells["almr"], cells["lr"], s=46, lw=1.2, zorder=3, **measured)
    if len(unused):
        label = "failed or incomplete"
        axes.scatter(unused["almr"], unused["lr"], s=46, fc="none", ec=UNUSED, lw=1.6, zorder=3, label=label)
    if len(diverged):
        axes.scatter(diverged["almr"], diverged["lr"], s=46, lw=2, **CROSS)


def _draw_winner(axes: Axes, info: data.ObjectiveInfo) -> None:
    winner, label = info.winner, f"winner with its {info.winner.level:.0%} intervals"
    _draw_intervals(axes, (winner.almr, winner.almr_interval), (winner.lr, winner.lr_interval))
    axes.scatter(winner.almr, winner.lr, s=150, marker="*", c=WINNER, ec="white", lw=0.8, zorder=5, label=label)


def _draw_intervals(axes: Axes, across: tuple[float, Interval], up: tuple[float, Interval]) -> None:
    """A cross of two intervals, each of which may lie to one side of its value."""
    (x, wide), (y, high) = across, up
    axes.hlines(y, wide.low, wide.high, color=WINNER, lw=2.2, zorder=4, path_effects=OUTLINE)
    axes.vlines(x, high.low, high.high, color=WINNER, lw=2.2, zorder=4, path_effects=OUTLINE)


@styled
def draw_slices(info: data.SlicesInfo) -> Figure:
    figure, panels = _panels([one.almr for one in info.slices])
    for axes, one in zip(panels, info.slices, strict=True):
        _draw_slice(axes, one, info.level)
    lrs = [lr for one in info.slices for lr in (*one.trials["lr"], *one.diverged)]
    panels[0].set_xlim(min(lrs) / 1.2, max(lrs) * 1.2)  # before the scale, which one LR alone does not determine
    panels[0].set_xscale("log")
    _lr_ticks(panels[0].xaxis, lrs, most=4)
    figure.supxlabel(LR)
    figure.supylabel(OBJECTIVE)
    figure.legend(*_legend(panels), **ABOVE)
    return figure


def _draw_slice(axes: Axes, one: data.Slice, level: float) -> None:
    axes.plot(one.lr, one.mean, color=FIT, lw=1.8, label="fitted mean")
    axes.fill_between(one.lr, one.low, one.high, color=FIT, alpha=0.25, lw=0, label=f"its {level:.0%} band")
    axes.axvline(one.best.lr, color=WINNER, lw=1.5, label="best LR")
    axes.axvspan(one.best.lr_low, one.best.lr_high, color=WINNER, alpha=0.18, lw=0, label=f"its {level:.0%} interval")
    axes.scatter(one.trials["lr"], one.trials["objective"], s=22, c=INK, zorder=3, label="trial")
    if one.diverged:
        top = [0.95] * len(one.diverged)
        axes.scatter(one.diverged, top, s=32, lw=1.8, transform=axes.get_xaxis_transform(), **CROSS)


@styled
def draw_languages(info: data.LanguagesInfo) -> Figure:
    figure = Figure(figsize=(8, 5.6), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=True)
    trials, best = info.trials, info.trials[info.trials["optimal"]].sort_values("original")
    axes.plot(best["original"], best["additional"], color=INK, lw=1, alpha=0.7, label="best trade-offs measured")
    log_lr = np.log(trials["lr"].to_numpy(float))
    size = 25 + 90 * (log_lr - log_lr.min()) / (np.ptp(log_lr) or 1)
    looks: dict[str, Any] = {"s": size, "c": trials["almr"], "norm": _scale(trials["almr"], Normalize), "ec": "white"}
    label = "trial (larger: higher LR)"
    shown = axes.scatter(trials["original"], trials["additional"], lw=0.8, zorder=3, label=label, **looks)
    x, y = info.winner["original"], info.winner["additional"]
    _draw_intervals(axes, x, y)
    axes.scatter(x[0], y[0], s=80, marker="D", c=WINNER, ec="white", zorder=5, label="winner, predicted")
    if info.base:
        base = info.base["original"], info.base["additional"]
        axes.scatter(*base, s=210, marker="*", color=DIVERGED, ec="white", zorder=4, label="base model")
    original, additional = (_safe(info.labels[name], name) for name in ("original", "additional"))
    axes.set(title="What one language costs the other", xlabel=f"{original}: held-out loss (nats per token)")
    axes.set_ylabel(f"{additional}: held-out loss (nats per token)")
    figure.colorbar(shown, label=ALMR)
    figure.legend(*_legend([axes]), **BELOW)
    return figure


@styled
def draw_training(info: data.TrainingInfo) -> Figure:
    almrs = sorted({curve.almr for curve in info.curves})
    figure, panels = _panels(almrs)
    if not info.curves:
        figure.text(0.5, 0.5, "no training curves were logged", ha="center")
        return figure
    colours = ScalarMappable(_scale([curve.lr for curve in info.curves], LogNorm), WARM)
    for curve in info.curves:
        _draw_training_curve(panels[almrs.index(curve.almr)], curve, colours)
    panels[0].set_ylim(info.lowest, info.highest)
    panels[0].xaxis.set_major_formatter(lambda tokens, _: data.short(tokens))
    bar = figure.colorbar(colours, ax=panels, label=LR)
    _lr_ticks(bar.ax.yaxis, [curve.lr for curve in info.curves], most=12)
    figure.supxlabel("training tokens")
    figure.supylabel("training loss (nats per token), as logged")
    figure.legend(*_legend(panels), **ABOVE)
    return figure


def _draw_training_curve(axes: Axes, curve: data.Curve, colours: ScalarMappable) -> None:
    looks: dict[str, Any] = {
        "complete": {"color": colours.to_rgba(np.array([curve.lr]))[0], "lw": 1.2},
        "diverged": {"color": DIVERGED, "lw": 1.3, "ls": "--", "zorder": 3, "label": "diverged"},
        "failed": {"color": UNUSED, "lw": 1.2, "ls": ":", "label": "failed"},
    }
    axes.plot(curve.tokens, curve.loss, **looks[curve.status])


def _panels(almrs: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """A figure with one panel for each ALMR and shared axes, at most four panels in a row."""
    rows = -(-len(almrs) // 4) or 1
    columns = -(-len(almrs) // rows) or 1
    figure = Figure(figsize=(max(6.0, 1.2 + 2.6 * columns), 1.4 + 2.3 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.ravel())
    for axes, almr in zip(panels, almrs, strict=False):
        axes.grid(visible=True)
        axes.set_title(f"ALMR {almr:.4g}")
    for spare in panels[len(almrs) :]:
        spare.remove()
    for axes in panels[max(len(almrs) - columns, 0) : len(almrs)]:
        axes.tick_params(labelbottom=True)  # the lowest of its column, even above a panel that is not there
    return figure, panels[: len(almrs)]


def _legend(panels: Sequence[Axes]) -> tuple[list[Any], list[str]]:
    """Each label once, from whichever panel has it first."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)


def _scale(values: Iterable[float], kind: type[Normalize]) -> Normalize:
    """A colour scale over the values; a single value gets some room, without which there is no scale."""
    low, high = min(values), max(values)
    return kind(low, high) if low < high else kind(low / 1.5, high * 1.5 or 1)


def _lr_ticks(axis: Axis, lrs: Sequence[float], most: int) -> None:
    """Ticks at the LRs that were measured, or at `most` of them."""
    measured = sorted(set(lrs))
    measured = measured[:: -(-len(measured) // most)]
    axis.set_ticks(measured, labels=[data.scientific(lr) for lr in measured])
    axis.set_ticks([], minor=True)


def _safe(text: str, instead: str) -> str:
    """A user's text without mathtext, or `instead` where the font cannot write it."""
    glyphs = font_manager.get_font(font_manager.findfont(FONT)).get_charmap()
    return text.replace("$", r"\$") if all(ord(character) in glyphs for character in text) else instead
