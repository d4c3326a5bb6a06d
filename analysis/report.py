"""A fitted study as one HTML page that needs nothing beside it: figures, styles and tables are inside.

The page is `report.html.j2`; here are the numbers that it shows and how each is written. What was not measured is
written as a dash, never as 0.
"""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from analysis import plots
from analysis import table as tables
from analysis.fit import Fit
from analysis.plot_data import languages_info, scientific, short
from analysis.winner import Coupling, Interval
from sweep.study import LANGUAGES
from sweep.study_file import dump

MISSING = "–"
CAPTIONS = {
    "objective": "Look for a bowl that closes inside the measured cells; a ring whose filling differs from what "
    "surrounds it is a trial that the surface does not follow.",
    "slices": "Each panel is the surface cut at one ALMR: near the minimum trials should scatter evenly about the "
    "line, and the best LR should lie between trials rather than at the end. One far above the best of its ALMR "
    "counts little, so that the divergence edge cannot bend the minimum: there the line may pass below it.",
    "languages": "Left and down is better; the joined trials are those that no other beats in both languages, and the "
    "winner is where the weights of the objective settle on that edge.",
    "training": "Curves that still fall steeply at the end, or that cross there, say that the trials were too short to "
    "rank the LRs.",
}


def write_report(fit: Fit, run: Path) -> Path:
    """Write `run/report.html`; it appears whole or not at all."""
    return plots.write_whole(render(fit, run).encode(), run / "report.html")


def render(fit: Fit, run: Path) -> str:
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters |= {"number": number, "lr": lr, "tokens": tokens, "almr": almr, "interval": interval}
    template = page.from_string(Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        study=fit.study,
        file=fit.file,
        languages=_languages(fit),
        gain=_gain(fit),
        figures=_images(fit, run),
        captions=CAPTIONS,
        coupling=fit.file.coupling and _in_words(fit.file.coupling, fit),
        scores=[name for name in fit.table.columns if name.startswith("score_")],
        trials=_trials(fit),
        cost=_cost(fit.table),
        yaml=dump(fit.study),
        provenance=_provenance(run),
    )


def _images(fit: Fit, run: Path) -> dict[str, str]:
    return {name: base64.b64encode(plots.png(f)).decode() for name, f in plots.figures(fit, run).items()}


def _languages(fit: Fit) -> list[dict[str, Any]]:
    """Per language: what the winner is predicted to do against the base model, and how well its surface fits."""
    info = languages_info(fit)
    return [
        {
            "label": info.labels[name],
            "weight": fit.weights[name],
            "base": info.base and info.base[name],
            "winner": info.winner[name],
            "change": info.base and info.winner[name][0] - info.base[name],
            "noise": fit.file.noise[name],
            "cross_validation": fit.file.cross_validation[name],
        }
        for name in LANGUAGES
    ]


def _gain(fit: Fit) -> dict[str, Any] | None:
    """How far the winner's objective is under the base model's, in nats; None where that was not measured."""
    base = languages_info(fit).base
    if base is None:
        return None
    start, winner = sum(fit.weights[name] * base[name] for name in LANGUAGES), fit.file.winner
    reach = winner.objective_interval
    return {
        "base": start,
        "value": start - winner.objective,
        "interval": Interval(low=start - reach.high, high=start - reach.low),
    }


def _in_words(coupling: Coupling, fit: Fit) -> dict[str, Any]:
    """`factor`: how much the best LR changes from the lowest measured ALMR to the highest, with its interval."""
    span = float(np.ptp(fit.optima.almr))
    low, high = (math.exp(end * span) for end in (coupling.interval.low, coupling.interval.high))
    shown = not coupling.interval.low <= 0 <= coupling.interval.high
    return {"factor": math.exp(coupling.slope * span), "interval": Interval(low=low, high=high), "shown": shown}


def _trials(fit: Fit) -> list[dict[str, Any]]:
    """Every row of the table, best objective first; those that the fit left out come last."""
    table = fit.table.assign(objective=tables.objective(fit.table, fit.weights), left_out=fit.table["excluded"].notna())
    rows = table.sort_values(["left_out", "objective", "seed", "almr", "lr"]).to_dict("records")
    return [{str(name): None if _missing(value) else value for name, value in row.items()} for row in rows]


def _cost(table: pd.DataFrame) -> dict[str, Any]:
    """Sums over the trials that recorded them; None where none did."""
    sums = table[["seconds", "gpu_hours", "tokens"]].astype(float).sum(min_count=1)
    hours = {"hours": sums["seconds"] / 3600, "gpu_hours": sums["gpu_hours"], "tokens": sums["tokens"]}
    return hours | {"trials": len(table), "timed": int(table["seconds"].notna().sum())}


def _provenance(run: Path) -> str | None:
    path = run / "provenance.json"
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except json.JSONDecodeError:
        return text


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def number(value: Any, digits: int = 3, sign: bool = False) -> str:
    return MISSING if _missing(value) else f"{value:{'+' if sign else ''}.{digits}f}"


def lr(value: Any) -> str:
    return MISSING if _missing(value) else scientific(value)


def tokens(value: Any) -> str:
    return MISSING if _missing(value) else short(value)


def almr(value: Any) -> str:
    return MISSING if _missing(value) else f"{value:.3g}"


def interval(ends: Interval, kind: str = "number", digits: int = 3) -> str:
    """An interval as text; `kind`: number, lr or almr."""
    write = {"number": lambda value: number(value, digits), "lr": lr, "almr": almr}[kind]
    return f"{write(ends.low)} to {write(ends.high)}"
