"""The table of gains as a page of its own, and as a section of a run's report. It needs no script to be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from analysis.report import inline
from analysis.report.inline import TEMPLATE
from analysis.scores.gains import gains_file, text
from analysis.scores.gains.gains_file import Gain, GainsFile, GainsRow
from sweep.study import InputError

NAME = "gains.html"
SCRIPTS = ("formats", "controls", "gains/page")
WIDE = 150  # of the drawing of an interval, in its own units
KINDS = {"better": "good", "worse": "bad"}


def render(found: GainsFile) -> str:
    """The page `gains.html`, with all that it needs inside."""
    style = (TEMPLATE / "style.css").read_text(encoding="utf-8")
    return (
        inline.environment(TEMPLATE)
        .get_template("gains/page.html.j2")
        .render(**inline.inside(style, script()), gains=view(found), heading=headline(found))
    )


def script() -> str:
    return inline.joined(TEMPLATE / f"{name}.js" for name in SCRIPTS)


def of_run(folder: Path) -> dict[str, Any] | None:
    """What the section shows of the table in a run's folder of gains; None where there is none."""
    try:
        found = gains_file.read(folder)
    except (InputError, OSError) as error:
        return {"unread": str(error)}
    return view(found) if found else None


def headline(found: GainsFile) -> dict[str, str]:
    """The verdict on the last model against the first: a word, its kind, and the groups that changed."""
    if len(found.chain) < 2:
        return {"word": "One model", "kind": "open", "note": text.NO_CHAIN}
    if not found.comparisons:
        return {"word": "Not compared", "kind": "open", "note": text.NO_PAIR}
    last, first = found.chain[-1], found.chain[0]
    gains = [(row, g) for row in text.leading(found) for g in row.gains if (g.model, g.against) == (last, first)]
    by = {kind: list(dict.fromkeys(row.group for row, g in gains if g.verdict == kind)) for kind in ("better", "worse")}
    said = [f"{kind} in {', '.join(names)}" for kind, names in by.items() if names]
    word = "Worse in part" if by["worse"] else "Better" if by["better"] else "No difference shown"
    kind = "bad" if by["worse"] else "good" if by["better"] else "open"
    return {"word": word, "kind": kind, "note": f"{last} against {first}: {'; '.join(said) or 'no verdict'}"}


def view(found: GainsFile) -> dict[str, Any]:
    """What the template shows."""
    heads, *_ = text.score_rows(found)
    return {
        "unread": None,
        "intro": text.intro(found),
        "legend": text.legend(found),
        "heads": heads[1:],
        "groups": [{"name": name, "rows": [_scores(found, row) for row in rows]} for name, rows in _by_group(found)],
        "gain_heads": text.gain_heads(found),
        "gains": [{"name": name, "rows": list(_gains(rows))} for name, rows in _by_group(found)],
        "compared": len(found.chain) > 1,
        "lost": text.lost(found),
        "missing": [*text.missing(found), *found.notes],
        "labels": ", ".join(heads[3:]),
        "models": list(text.models(found)),
        "whole": not any(gain.why for row in found.rows for gain in row.gains),
        "wide": WIDE,
    }


def _by_group(found: GainsFile) -> Iterator[tuple[str, list[GainsRow]]]:
    for name, rows in groupby(found.rows, key=lambda row: row.group):
        yield name, list(rows)


def _scores(found: GainsFile, row: GainsRow) -> dict[str, Any]:
    cells = [
        {
            "text": text.score(found, row, model.label),
            "kind": KINDS.get(text.verdict(found, row, model.label) or "", ""),
        }
        for model in found.models
    ]
    return {"name": text.name(row), "mean": row.kind == "group", "questions": row.questions or "", "cells": cells}


def _gains(rows: Iterable[GainsRow]) -> Iterator[dict[str, Any]]:
    for row in rows:
        reach = _reach(row)
        for place, gain in enumerate(row.gains):
            cells = text.gain_cells(row, gain)
            yield {
                "name": cells[0] if place == 0 else "",
                "count": len(row.gains),
                "cells": cells[1:],
                "kind": KINDS.get(gain.verdict or "", ""),
                "drawn": _drawn(gain, reach),
            }


def _reach(row: GainsRow) -> float:
    """The largest distance from 0 of any interval of the row: its drawings have one scale."""
    ends = [abs(end) for g in row.gains if g.change for end in (g.change.interval.low, g.change.interval.high)]
    return max(ends, default=0.0)


def _drawn(gain: Gain, reach: float) -> dict[str, str] | None:
    """Where the interval and the change are drawn."""
    if gain.change is None or not reach:
        return None
    ends = gain.change.interval
    places = {"low": ends.low, "value": gain.change.value, "high": ends.high}
    return {name: f"{WIDE / 2 * (1 + 0.94 * value / reach):.1f}" for name, value in places.items()}
