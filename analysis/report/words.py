"""The words and numbers of the page's text, from a fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from analysis.figures.data.languages import base_losses
from analysis.figures.data.loss_and_guard import unguarded
from analysis.fit_file.curve import CurvePoint
from analysis.fit_file.result import FitResult
from analysis.fit_file.sources import Verdict
from analysis.fit_file.winner import Interval
from analysis.scores import table_text
from analysis.surfaces.optima import DRAWS
from analysis.table import table as tables
from sweep.study import LANGUAGES
from sweep.study import numbers as formats


class Tile(NamedTuple):
    """One number at the top: `change` against the base model, and whether it is for the better, as `mark`."""

    name: str
    value: str
    note: str
    change: str = ""
    mark: Verdict | None = None


def tiles(fit: FitResult) -> list[Tile]:
    """The winner, the launch's LR, and what each language gains or pays."""
    winner, level = fit.file.winner, formats.level(fit.file.winner.level)
    alone, only = fit.file.alone, "the only one tried"
    found = []
    if not formats.missing(winner.almr):
        reach = only if alone == "lr" else f"{level} interval {formats.interval(winner.almr_interval, 'almr')}"
        found = [Tile("ALMR", formats.almr(winner.almr), f"share of {fit.label('additional')} tokens; {reach}")]
    reach = only if alone == "almr" else f"{level} interval {formats.interval(winner.lr_interval, 'lr')}"
    found.append(Tile("peak LR", formats.lr(winner.lr), f"highest LR of the schedule; {reach}"))
    reach = f"{level} interval {formats.interval(winner.objective_interval)}"
    found.append(Tile("objective", formats.number(winner.objective), f"{fit.loss_unit}; {reach}"))
    if launch := fit.file.transfer:
        reach = f"{level} interval {formats.interval(launch.lr_interval, 'lr')}"
        found.append(Tile("launch LR", formats.lr(launch.lr), f"rule {launch.rule}; {reach}"))
    return [*found, *(_language(row) for row in surfaces(fit) if row["name"] in LANGUAGES)]


def _language(row: dict[str, Any]) -> Tile:
    """The loss of a language at the winner, against the base model's where it is known."""
    reach, base = row["winner"].interval, row["base"]
    name, value = f"{row['label']} loss", formats.number(row["winner"].mean)
    if base is None:
        return Tile(name, value, "base model not measured")
    mark: Verdict = (
        "not distinguishable" if reach.low <= base <= reach.high else "better" if reach.high < base else "worse"
    )
    arrow = {"better": "\u25bc", "worse": "\u25b2"}.get(mark, "\u2248")
    change = f"{arrow} {formats.number(row['change'], 3, sign=True)} {mark}"
    return Tile(name, value, f"base model {formats.number(base)}; interval {formats.interval(reach)}", change, mark)


def surfaces(fit: FitResult) -> list[dict[str, Any]]:
    """Per surface: the base model's and the winner's losses, and how well the surface fits."""
    file, base = fit.file, base_losses(fit)
    return [
        {
            "name": name,
            "label": fit.label(name),
            "weight": file.weights and file.weights.get(name, 0.0),
            "base": base.get(name),
            "winner": file.winner.losses[name],
            "change": file.winner.losses[name].mean - base[name] if name in base else None,
            "form": file.forms[name],
            "noise": file.noise[name],
            "cross_validation": file.cross_validation[name],
        }
        for name in file.forms
    ]


def gain(fit: FitResult) -> dict[str, Any] | None:
    """How far the winner's objective is below the base model's, in nats; None where that was not measured."""
    goal, base, winner = unguarded(fit), base_losses(fit), fit.file.winner
    if not set(goal.losses) <= set(base):
        return None
    start, reach = sum(goal.weights[name] * base[name] for name in goal.losses), winner.objective_interval
    return {
        "base": start,
        "value": start - winner.objective,
        "interval": Interval(low=start - reach.high, high=start - reach.low),
    }


def objective(fit: FitResult) -> str:
    """The weights of losses where they are not those of the two languages, in words; else nothing."""
    weights = {name: share for name, share in (fit.file.weights or {}).items() if share}
    if set(weights) <= {*LANGUAGES, tables.TOTAL}:
        return ""
    return ", ".join(f"{formats.number(share, 2)} for {fit.label(name)}" for name, share in weights.items())


def sources(fit: FitResult) -> list[dict[str, Any]]:
    """Each source of a study that names sources: its part of the text, and its losses at base model and winner."""
    weights, bounds = fit.file.weights or {}, fit.file.bounds
    return [
        {
            "one": one,
            "language": fit.label(one.language),
            "name": one.name if one.name != one.language else fit.label(one.name),
            "weight": weights.get(one.name),
            "bound": bounds.get(one.name),
        }
        for one in fit.file.sources
    ]


def scores(fit: FitResult) -> dict[str, Any] | None:
    """The tables of scores as text; None where nothing was scored."""
    if (scores := fit.file.scores) is None:
        return None
    return {
        "intro": table_text.intro(scores),
        "legend": table_text.legend(scores),
        "heads": table_text.HEADS,
        "rows": [table_text.change_cells(row, fit.label) for row in scores.rows],
        "optima_intro": table_text.OPTIMA_INTRO,
        "optima_heads": table_text.OPTIMA_HEADS,
        "optima": [table_text.optimum_cells(row, fit.label) for row in scores.rows],
        "points": [*map(table_text.guard, scores.guards), *scores.notes],
    }


def coupling(fit: FitResult) -> dict[str, Any] | None:
    """`p`: the p-value as text; "at most" where it is the smallest that the draws can show. `turns`: see `_turns`."""
    found = fit.file.coupling
    if found is None:
        return None
    return {
        "p": f"p {'at most' if found.p_value <= 1 / DRAWS else '='} {formats.number(found.p_value)}",
        "turns": _turns([p for p in fit.file.curve if found.almr_low <= p.almr <= found.almr_high]),
    }


def _turns(curve: Sequence[CurvePoint]) -> str:
    """What the best LR does where its interval somewhere lies above those at both ends of the curve, or below both."""
    ends = [*curve[:1], *curve[-1:]]
    if any(p.lr_low > max(end.lr_high for end in ends) for p in curve):
        return "rises and falls"
    return "falls and rises" if any(p.lr_high < min(end.lr_low for end in ends) for p in curve) else ""


def why_unknown(fit: FitResult) -> str:
    """Why the coupling is not known, and what to measure. See analysis.decision.curve.coupling."""
    used = tables.usable(fit.table)
    for name, values in (("ALMR", used["almr"]), ("LR", used["lr"])):
        if values.nunique() == 1:
            return f"only one {name} was tried. Add others to the grid."
    if fit.guards:
        return f"it is not estimated under {fit.guards}, which limits the LRs."
    ends = [p.lr for p in fit.file.curve if p.at_edge]
    middle = math.sqrt(used["lr"].min() * used["lr"].max())
    beyond = {"lower": any(lr < middle for lr in ends), "higher": any(lr > middle for lr in ends)}
    wanted = " and ".join(word for word, needed in beyond.items() if needed) or "lower and higher"
    return f"at too few ALMRs the best LR lies inside the tried range. Add {wanted} LRs to the grid."


def cost(table: pd.DataFrame) -> dict[str, Any] | None:
    """Sums over the trials that recorded their cost; None where none did."""
    trained = table["tokens"].where(table["trained_tokens"].isna(), table["trained_tokens"])  # older records lack it
    sums = table[["seconds", "gpu_hours"]].assign(tokens=trained).astype(float).sum(min_count=1)
    if sums.isna().all():
        return None
    hours = {"hours": sums["seconds"] / 3600, "gpu_hours": sums["gpu_hours"], "tokens": sums["tokens"]}
    return hours | {"trials": len(table), "timed": int(table["seconds"].notna().sum())}
