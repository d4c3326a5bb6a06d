"""The LR of each transfer rule for the launch, with its interval."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from analysis.figures.data.transfer import RuleLr, TransferInfo
from analysis.figures.drawing import style
from sweep.study import numbers as formats


@style.styled
def draw_transfer(info: TransferInfo) -> Figure:
    figure = Figure(figsize=(7, 1.6 + 0.36 * (len(info.rules) + 1)), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=True, axis="x")
    if info.agree:
        axes.axvspan(info.agree.low, info.agree.high, color=style.WINNER, alpha=0.15, lw=0, label="factor of 2")
    lr, interval = info.winner
    interval_label = style.interval_label(info.level)
    axes.hlines(0, interval.low, interval.high, color=style.INK, lw=2.2, label=interval_label)
    axes.scatter([lr], [0], s=40, c=style.INK, zorder=3)
    for row, rule in enumerate(info.rules, start=1):
        axes.hlines(row, rule.interval.low, rule.interval.high, **_line(rule))
        axes.scatter([rule.lr], [row], s=40, zorder=3, **_dot(rule))
    axes.set_yticks(range(len(info.rules) + 1), labels=["small model", *(rule.name for rule in info.rules)])
    axes.set(xscale="log", xlabel=f"{style.LR} of the launch", ylim=(len(info.rules) + 0.6, -0.6))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: formats.lr(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    style.legend_above(figure, [axes])
    return figure


def _colour(rule: RuleLr) -> str:
    return style.WINNER if rule.chosen else style.FIT if rule.applies else style.UNUSED


def _line(rule: RuleLr) -> dict[str, Any]:
    return {"color": _colour(rule), "lw": 2.2, "ls": "-" if rule.applies else ":"}


def _dot(rule: RuleLr) -> dict[str, Any]:
    label = "the study's rule" if rule.chosen else "another rule" if rule.applies else "does not apply"
    return {"c": _colour(rule) if rule.applies else "white", "edgecolors": _colour(rule), "label": label}
