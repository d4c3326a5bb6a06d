"""The table of scores as `scores.csv`, for scripts, and `scores.md`, for people; empty where nothing was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from analysis.fit_file.scores import ScoreRow, ScoresFile
from analysis.scores import words

SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|#"} | {"\n": " ", "\r": " "})


def texts(scores: ScoresFile | None) -> dict[str, str]:
    """Content by file name; empty where nothing was scored."""
    return {"scores.csv": csv(scores), "scores.md": markdown(scores)} if scores else {}


def csv(scores: ScoresFile) -> str:
    return pd.DataFrame([_flat(row, scores) for row in scores.rows], dtype=object).to_csv(index=False)


OWN = ("name", "kind", "group", "language", "metric", "higher_is_better", "questions", "base", "winner", "verdict")
PARTS = {  # each with the fields that are columns; an interval is two
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


def markdown(scores: ScoresFile) -> str:
    """The report's two tables, its guards and its notes."""
    points = [*(f"guard: {words.guard(guard)}" for guard in scores.guards), *scores.notes]
    parts = [
        _plain(words.intro(scores)),
        _table(words.HEADS, map(words.cells, scores.rows)),
        _table(words.ACROSS_HEADS, map(words.across, scores.rows)),
        "\n".join(f"- {_plain(point)}" for point in points),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: names of tasks are a user's own."""
    return text.translate(SPECIAL)
