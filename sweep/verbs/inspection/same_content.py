"""Whether a table says what it should, however an editor or a spreadsheet that saved it anew writes the same."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection

OF_TRIALS, OF_SCORES = ("trial_id", "almr", "lr", "seed", "status"), ("name", "kind", "metric", "winner")
EDGES, RULE = re.compile(r"[ \t]*(\||$)[ \t]*", re.MULTILINE), re.compile(r"-{3,}")


def of_csv(found: str, wanted: str, known: Collection[str], but: Collection[str] = ()) -> bool:
    """Whether two tables have equal cells in the columns that both have, without those of `but`.

    Columns that another version writes are passed over, those of `known` are not. A number may be written otherwise.
    """
    rows, expected = _rows(found), _rows(wanted)
    if not expected or len(rows) != len(expected):
        return len(rows) == len(expected)
    shared = rows[0].keys() & expected[0].keys()
    if not shared.issuperset(known):
        return False
    compared = shared.difference(but)
    return all(_same(row[name], other[name]) for row, other in zip(rows, expected, strict=True) for name in compared)


def of_markdown(found: str, wanted: str) -> bool:
    """Whether two texts are equal but for the width of the columns of their tables and the ends of their lines."""
    return _plain(found) == _plain(wanted)


def _rows(text: str) -> list[dict[str | None, str | None]]:
    """Raises csv.Error for text that is cut off in a quoted cell, and for a cell that is too long."""
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True))


def _same(one: str | None, other: str | None) -> bool:
    if one == other or one is None or other is None:
        return one == other
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def _plain(text: str) -> str:
    joined = "\n".join(text.removeprefix("\ufeff").splitlines()).strip()
    return RULE.sub("---", EDGES.sub(r"\1", joined))
