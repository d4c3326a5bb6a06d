"""Cells as text and as numbers, and the decimal commas of a file.

A comma or a point between groups of three digits may be a decimal mark or group thousands: it is decided by the
other cells of the column and the file, or not at all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

MISSING = ("", "nan", "na", "n/a", "#n/a", "<na>", "nat", "null", "none", "-", "–", "—")
MOST_VALUES, LONGEST = 10, 40  # in a message
EXPONENT = r"(?:[eE][-+]?\d+)?\s?%?"
DECIMAL_COMMA = re.compile(rf"[-+]?\d*,\d+{EXPONENT}")
DECIMAL_POINT = re.compile(rf"[-+]?\d*\.\d+{EXPONENT}")
GROUPED = {mark: re.compile(rf"[-+]?[1-9]\d{{0,2}}({re.escape(mark)}\d{{3}})+") for mark in ",."}
ANY_GROUPS = re.compile(r"[-+]?\d{1,3}([., '_\u00a0\u202f]\d{3})+([.,]\d+)?")  # a number with its thousands apart
Rows = dict[int, dict[str, Any]]


class Unclear(str):
    """A number that may be a thousand times another one."""

    __slots__ = ()


def text_of(cell: Any) -> str:
    """The cell as text; "" where it is missing (see MISSING)."""
    text = "" if cell is None else str(cell).strip()
    return "" if text.lower() in MISSING else text


def number_of(cell: Any) -> float:
    """The cell as a number; NaN where it is missing or not a number."""
    if isinstance(cell, Unclear):
        return math.nan
    try:
        return float(text_of(cell).replace("−", "-") or "nan")
    except (ValueError, OverflowError):
        return math.nan


def grouped(cell: Any) -> bool:
    """Whether the cell is a number with its thousands apart, or one that may be."""
    return isinstance(cell, Unclear) or ANY_GROUPS.fullmatch(text_of(cell)) is not None


def shown(text: Any) -> str:
    """A text of the file for a message: on one line, and not longer than LONGEST."""
    line = str(text) if str(text).isprintable() else repr(str(text))[1:-1]
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def listing(names: Iterable[str]) -> str:
    """The distinct names, at most MOST_VALUES of them, for a message."""
    every = list(dict.fromkeys(shown(name) or "(blank)" for name in names))
    more = f" and {len(every) - MOST_VALUES} more" if len(every) > MOST_VALUES else ""
    return ", ".join(every[:MOST_VALUES]) + more


def with_decimal_points(rows: Rows, names: Iterable[str]) -> Rows:
    """The rows with the decimal commas of the columns `names` as points, where these show that commas are decimal
    marks. Others are no evidence: "0,1" may be a list of GPUs."""
    columns = {name: [c for row in rows.values() if isinstance(c := row.get(name), str)] for name in names}
    commas = {name: any(_surely(cell, ",", DECIMAL_COMMA) for cell in cells) for name, cells in columns.items()}
    if not any(commas.values()):
        return rows
    points = {name: any(_surely(cell, ".", DECIMAL_POINT) for cell in cells) for name, cells in columns.items()}
    return {
        n: row | {name: _with_point(row.get(name), commas[name], points[name]) for name in columns}
        for n, row in rows.items()
    }


def _surely(cell: str, mark: str, decimal: re.Pattern[str]) -> bool:
    text = cell.strip()
    return decimal.fullmatch(text) is not None and GROUPED[mark].fullmatch(text) is None


def _with_point(cell: Any, commas: bool, points: bool) -> Any:
    """A cell of a file with decimal commas; `commas`, `points`: the column surely has decimals of that kind."""
    if not isinstance(cell, str):
        return cell
    text = cell.strip()
    if _surely(cell, ",", DECIMAL_COMMA) or (DECIMAL_COMMA.fullmatch(text) and not points):
        return text.replace(",", ".")
    if GROUPED["."].fullmatch(text) and (commas or not points):
        return Unclear(cell)
    return cell
