"""The table of scores as `scores.csv`, for scripts, and `scores.md`, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from analysis.fit_file.scores import ScoreRow, ScoresFile
from analysis.scores import table_text
from analysis.scores.table_text import Label
from sweep.study.tables import written

SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|#"} | {"\n": " ", "\r": " "})


def texts(scores: ScoresFile | None, label: Label = str) -> dict[str, str]:
    """Content by file name; empty where nothing was scored. `label` names the languages in scores.md."""
    return {"scores.csv": csv(scores), "scores.md": markdown(scores, label)} if scores else {}


def csv(scores: ScoresFile) -> str:
    return written.csv(pd.DataFrame([_flat(row, scores) for row in scores.rows], dtype=object))


OWN = ("name", "kind", "group", "language", "metric", "higher_is_better", "questions", "base", "winner", "verdict")
PARTS = {  # each field of a part is a column; an interval is two
    "change": ("value", "interval", "n", "p_value", "p_corrected", "unpaired"),
    "best": ("trial_id", "almr", "lr", "value", "change", "change_interval", "above_winner", "above_winner_interval"),
    "correlation": ("loss", "value", "interval", "trials"),
    "optimum": ("almr", "lr", "value", "almr_interval", "lr_interval", "holds_winner", "behind", "behind_interval"),
}


def _flat(row: ScoreRow, scores: ScoresFile) -> dict[str, Any]:
    flat: dict[str, Any] = {name: getattr(row, name) for name in OWN}
    flat["winner_trial"] = scores.winner_trial.trial_id if scores.winner_trial else None
    for part, names in PARTS.items():
        for name in names:
            flat |= _columns(f"{part}_{name}", getattr(getattr(row, part), name, None))
    return flat | {name: getattr(row, name) for name in ("needed", "why_no_change", "why_no_optimum")}


def _columns(name: str, value: Any) -> dict[str, Any]:
    if name.endswith("interval"):
        return {name.replace("interval", end): getattr(value, end, None) for end in ("low", "high")}
    return {name: value}


def markdown(scores: ScoresFile, label: Label = str) -> str:
    """The report's two tables of scores, with the guards and notes."""
    points = [*map(table_text.guard, scores.guards), *scores.notes]
    parts = [
        plain(table_text.intro(scores)),
        as_table(table_text.HEADS, (table_text.change_cells(row, label) for row in scores.rows)),
        plain(table_text.legend(scores)),
        plain(table_text.OPTIMA_INTRO),
        as_table(table_text.OPTIMA_HEADS, (table_text.optimum_cells(row, label) for row in scores.rows)),
        "\n".join(f"- {plain(point)}" for point in points),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head, *body = [[plain(cell) for cell in row] for row in (heads, *rows)]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """Text that Markdown shows as it is: task names are free text."""
    return text.translate(SPECIAL)
