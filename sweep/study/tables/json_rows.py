"""Rows of a JSON text: JSON Lines, a list of objects, or an object of columns. Nested objects get dotted names."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from sweep.study.tables.contents import MOST_ROWS, refuse_large

LINE_END = re.compile(r"\r\n|\r|\n")
OPENING = re.compile(r"\s*(\{|\[\s*[{\[\]])")
Rows = dict[int, dict[str, Any]]
LONGEST_INTEGER = 300  # digits
FORMS = "write a list of objects, or an object on each line"


def looks_like_json(text: str) -> bool:
    return OPENING.match(text) is not None


def parsed(text: str) -> tuple[str, Rows]:
    """What the numbers of the rows count, "line" or "row", and the rows by number. Raises ValueError."""
    try:
        whole = _value(text)
    except json.JSONDecodeError as error:
        if text.lstrip().startswith("["):
            raise ValueError(f"line {error.lineno}: {error.msg}") from None
        by_line = dict(itertools.islice(_lines(text), MOST_ROWS + 1))
        if len(by_line) > MOST_ROWS:
            refuse_large(len(LINE_END.findall(text)) + 1, 0)
        return "line", by_line
    if isinstance(whole, dict) and not any(isinstance(value, list | dict) for value in whole.values()):
        return "line", {1: flat(whole)}
    rows = whole if isinstance(whole, list) else _rows_of(whole)
    return "row", {n: _object(f"row {n}", row) for n, row in enumerate(rows, start=1)}


def _value(text: str) -> Any:
    return json.loads(text, parse_int=_whole)


def _whole(digits: str) -> int | float:
    """Python does not read an integer of thousands of digits."""
    return int(digits) if len(digits) <= LONGEST_INTEGER else float(digits)


def _lines(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for n, line in enumerate(LINE_END.split(text), start=1):
        if line.strip():
            try:
                yield n, _object(f"line {n}", _value(line))
            except json.JSONDecodeError as error:
                raise ValueError(f"line {n}: {error.msg} at character {error.pos + 1}") from None


def _object(place: str, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise ValueError(f"{place} is no object: {FORMS}")
    return flat(row)


def _rows_of(whole: Any) -> Iterable[Any]:
    """The rows of an object, as pandas writes tables: by column, by number, or names, index and data
    apart; or those of its one list of objects, as in {"study": "mine", "trials": [...]}."""
    if not isinstance(whole, dict):
        raise ValueError(f"it is one value: {FORMS}")
    names, data = whole.get("columns"), whole.get("data")
    if isinstance(data, list) and isinstance(names, list):
        if wrong := [n for n, row in enumerate(data, 1) if not isinstance(row, list) or len(row) != len(names)]:
            raise ValueError(f"row {wrong[0]} of its data has not the {len(names)} cells of its columns")
        return [dict(zip(map(str, names), row, strict=True)) for row in data]
    if isinstance(data, list):
        return data
    inside = [value for value in whole.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if len(inside) == 1:
        return inside[0]
    if all(name.isdecimal() and isinstance(row, dict) for name, row in whole.items()):
        return list(whole.values())
    columns = {name: list(v.values()) if isinstance(v, dict) else v for name, v in whole.items()}
    sizes = {len(values) if isinstance(values, list) else -1 for values in columns.values()}
    if len(sizes) != 1 or -1 in sizes or any(isinstance(v, dict | list) for c in columns.values() for v in c):
        raise ValueError(f"it is one object: {FORMS}")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def flat(row: dict[Any, Any], above: str = "") -> dict[str, Any]:
    """The cells of nested objects by dotted name: {"config": {"lr": 1}} is {"config.lr": 1}."""
    cells: dict[str, Any] = {}
    for name, value in row.items():
        path = f"{above}{name}".strip()
        cells |= flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return cells
