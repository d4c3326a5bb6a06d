"""The LR of each transfer rule for the launch, with its interval."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from analysis.figures.data.transfer import RuleLr, TransferInfo
from analysis.figures.drawing import style
from sweep.study import numbers as formats


@style.styled
def draw_transfer(info: TransferInfo) -> Figure:
    figure = style.canvas(0, extra=0.6 + 0.24 * (len(info.rules) + 1))
    axes = figure.subplots()
    axes.grid(visible=True, axis="x")
    if info.agree:
        near = "within 2 x of the study's rule"
        axes.axvspan(info.agree.low, info.agree.high, color=style.WINNER, alpha=0.2, lw=0, label=near)
    lr, interval = info.winner
    axes.hlines(0, interval.low, interval.high, color=style.INK, label=f"{formats.level(info.level)} interval")
    axes.scatter([lr], [0], s=22, c=style.INK, marker="s", zorder=3, label="the small model's winner")
    for row, rule in enumerate(info.rules, start=1):
        axes.hlines(row, rule.interval.low, rule.interval.high, **_line(rule))
        axes.scatter([rule.lr], [row], s=26, zorder=3, **_dot(rule))
    axes.set_yticks(range(len(info.rules) + 1), labels=["small model", *(rule.name for rule in info.rules)])
    axes.set(xscale="log", xlabel=f"{style.LR} of the launch", ylim=(len(info.rules) + 0.6, -0.6))
    style.lr_ticks(axes.xaxis, most=4 if style.is_narrow(figure) else 10)
    style.legend_above(figure, [axes])
    return figure


def _colour(rule: RuleLr) -> str:
    return style.WINNER if rule.chosen else style.FIT if rule.applies else style.UNUSED


def _line(rule: RuleLr) -> dict[str, Any]:
    return {"color": _colour(rule), "ls": "-" if rule.applies else ":"}


def _dot(rule: RuleLr) -> dict[str, Any]:
    label = "the study's rule" if rule.chosen else "another rule" if rule.applies else "does not apply"
    fill, marker = _colour(rule) if rule.applies else "white", "D" if rule.chosen else "o"
    return {"c": fill, "edgecolors": _colour(rule), "marker": marker, "label": label}
