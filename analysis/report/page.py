"""A fit as one HTML page that needs nothing beside it: figures, styles and tables are inside.

`template.html.j2` is the page; this module computes the values that it shows.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from analysis.decision.objectives import goal_of
from analysis.figures.data.languages import base_losses
from analysis.figures.data.loss_and_guard import unguarded
from analysis.fit_file.curve import CurvePoint
from analysis.fit_file.findings import messages
from analysis.fit_file.outdated import fit_sha256
from analysis.fit_file.result import FitResult
from analysis.fit_file.sources import loss_guard_line
from analysis.fit_file.winner import Interval
from analysis.report import corpora
from analysis.scores import table_text
from analysis.surfaces.optima import DRAWS
from analysis.table import table as tables
from sweep.study import LANGUAGES, InputError
from sweep.study import numbers as formats
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import RunFiles
from sweep.study.files.reader import read_object
from sweep.study.study_file import dump

CAPTIONS = {
    "along": "Good: near the minimum, trials scatter evenly about the line, and the best value lies between trials, "
    "not at an end. The band is the uncertainty of the line; single trials scatter by their noise.",
    "objective": "Good: the dark basin lies inside the tried range. A dot whose colour differs from its surroundings "
    "is a trial that the fit misses. The joint region holds the best ALMR and LR together; each interval is for one of "
    "them alone.",
    "slices": "One panel per ALMR. Good: near the minimum, trials scatter evenly about the line, and the best LR lies "
    "between trials, not at an end. The band is the uncertainty of the line; single trials scatter by their noise, "
    "which may grow with the LR, so that near divergence the line may pass further from a trial.",
    "languages": "Lower left is better. No other trial beats a joined trial in both languages. The curve is the winner "
    "at each weight of the languages.",
    "front": "How the winner depends on the weight of the languages. Where a line is steep, settle the weight before "
    "the launch; where it is flat, the weight hardly matters.",
    "scores": "Change of each score from the base model to the chosen trial; diamonds are means over a group or a "
    "language. Each interval is for that score alone; the colour is the Holm-corrected verdict.",
    "transfer": "What each transfer rule says of the launch's LR. Inside the band, rules agree with the study's own to "
    "a factor of 2. Dotted: the rule has no exponent for so many times the tokens. Where the rules disagree, run the "
    "confirmation runs.",
    "training": "Curves that cross, or that still fall steeply, at the end show that the trials were too short to rank "
    "the LRs.",
}
GUARDED = {
    "objective": " Under the guard, the region and the interval of the best LR hold the best allowed point; the winner "
    "stays on the side where the guard is likely to hold.",
    "slices": " Where the line is dashed, the guard is not likely enough to hold.",
}


def write_report(fit: FitResult, run: Path, commands: Sequence[str] = ()) -> Path:
    """Write `run/report.html` atomically. `commands`: what may be run next, as "purpose: command"."""
    return write_atomically(RunFiles(run).report, render(fit, run, commands))


def render(fit: FitResult, run: Path, commands: Sequence[str] = ()) -> str:
    surfaces = _surfaces(fit)
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    names = ("number", "lr", "tokens", "almr", "percent", "times", "interval", "missing")
    page.filters |= {name: getattr(formats, name) for name in names}
    page.filters["messages"] = messages
    page.filters["sentence"] = lambda text: f"{text[:1].upper()}{text[1:].removesuffix('.')}."
    template = page.from_string(Path(__file__).with_name("template.html.j2").read_text(encoding="utf-8"))
    return template.render(
        fit_sha256=fit_sha256(run),
        study=fit.study,
        file=fit.file,
        commands=[line.partition(": ") for line in commands],
        labels={name: fit.label(name) for name in LANGUAGES},
        languages=[row for row in surfaces if row["name"] in (*LANGUAGES, tables.TOTAL)],
        surfaces=surfaces,
        sources=_sources(fit),
        objective=_objective(fit),
        guards=[loss_guard_line(guard, fit.label) for guard in fit.file.loss_guards],
        gain=_gain(fit),
        scores=_scores(fit),
        figures=_images(fit, run),
        captions={name: text + (GUARDED.get(name, "") if fit.file.bounds else "") for name, text in CAPTIONS.items()},
        one_seed=fit.one_seed,
        coupling=_coupling(fit),
        unknown=_why_unknown(fit),
        guarded=fit.guards,
        trials=_trials(fit),
        corpora=corpora.table(fit, run),
        corpus_heads=corpora.HEADS,
        cost=_cost(fit.table),
        launch=_launch(run),
        yaml=fit.study and dump(fit.study),
        provenance=_as_it_is(RunFiles(run).provenance),
    )


def _launch(run: Path) -> str | None:
    """The verdict on the launch bundle of this fit; None where there is none."""
    found = read_object(RunFiles(run).evidence) or {}
    return str(found.get("headline")) if found.get("headline") and found.get("fit_sha256") == fit_sha256(run) else None


def _images(fit: FitResult, run: Path) -> dict[str, str]:
    """The figures that the fit drew. Raises InputError where one is gone, or is of another fit."""
    drawn = {name: _drawn(fit, RunFiles(run).figure(name)) for name in fit.file.figures}
    return {name: base64.b64encode(content).decode() for name, content in drawn.items()}


def _drawn(fit: FitResult, path: Path) -> bytes:
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != fit.file.figures[path.stem]:
        why = "is not the figure that this fit drew" if content else "does not exist"
        raise InputError(f"{path}: {why}: draw it again, almr fit {path.parents[1]}")
    return content


def _surfaces(fit: FitResult) -> list[dict[str, Any]]:
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


def _gain(fit: FitResult) -> dict[str, Any] | None:
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


def _objective(fit: FitResult) -> str:
    """The weights of losses where they are not those of the two languages, in words; else nothing."""
    weights = {name: share for name, share in (fit.file.weights or {}).items() if share}
    if set(weights) <= {*LANGUAGES, tables.TOTAL}:
        return ""
    return ", ".join(f"{formats.number(share, 2)} for {fit.label(name)}" for name, share in weights.items())


def _sources(fit: FitResult) -> list[dict[str, Any]]:
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


def _scores(fit: FitResult) -> dict[str, Any] | None:
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


def _coupling(fit: FitResult) -> dict[str, Any] | None:
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


def _why_unknown(fit: FitResult) -> str:
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


def _trials(fit: FitResult) -> dict[str, Any]:
    """Every row of the table, lowest objective first; those that the fit left out come last.

    `heads`, and `rows` with as many `cells`, all text. A column without any value is not shown.
    """
    table = fit.table.assign(objective=goal_of(fit.file).of_trials(fit.table), left_out=fit.table["excluded"].notna())
    table = table.sort_values(["left_out", "objective", "seed", "almr", "lr"])
    known = [c for c in _columns(fit) if c[1] != "almr" or not formats.missing(fit.file.winner.almr)]
    columns = [c for c in known if c[1] in table and not table[c[1]].map(formats.missing).all()]
    rows = [
        {
            "left_out": row["excluded"] if row["left_out"] else None,
            "cells": [write(row[name]) for _, name, write in columns],
        }
        for row in table.to_dict("records")
    ]
    return {"heads": [head for head, *_ in columns], "rows": rows}


def _columns(fit: FitResult) -> list[tuple[str, str, Callable[[Any], str]]]:
    """(heading, column of the table, function that formats its values)"""
    return [
        ("ALMR", "almr", formats.almr),
        ("ALMR counted", "almr_achieved", lambda value: formats.number(value, 4)),
        ("peak LR", "lr", formats.lr),
        ("seed", "seed", formats.whole),
        ("objective", "objective", lambda value: formats.number(value, 4)),
        *((fit.label(name), f"loss_{name}", lambda value: formats.number(value, 4)) for name in _losses(fit)),
        *((n.removeprefix("score_"), n, formats.number) for n in fit.table.columns if n.startswith("score_")),
        ("tokens", "tokens", formats.tokens),
        ("seconds", "seconds", lambda value: formats.number(value, 1)),
    ]


def _losses(fit: FitResult) -> list[str]:
    """Those of the surfaces, and of every source that has a name of its own."""
    return list(dict.fromkeys([*fit.file.forms, *(one.name for one in fit.file.sources)]))


def _cost(table: pd.DataFrame) -> dict[str, Any] | None:
    """Sums over the trials that recorded their cost; None where none did."""
    trained = table["tokens"].where(table["trained_tokens"].isna(), table["trained_tokens"])  # older records lack it
    sums = table[["seconds", "gpu_hours"]].assign(tokens=trained).astype(float).sum(min_count=1)
    if sums.isna().all():
        return None
    hours = {"hours": sums["seconds"] / 3600, "gpu_hours": sums["gpu_hours"], "tokens": sums["tokens"]}
    return hours | {"trials": len(table), "timed": int(table["seconds"].notna().sum())}


def _as_it_is(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
