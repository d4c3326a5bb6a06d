"""A CSV or parquet file as rows of cells, with their line or row numbers.

No content is evaluated. CSV cells are read as text and converted by `float`: numbers are exact, and messages can quote
the cell.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from sweep.study import InputError

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".parquet")
MISSING = ("", "nan", "na", "n/a", "#n/a", "<na>", "nat", "null", "none")
MOST_VALUES = 10


@dataclass(frozen=True)
class TableFile:
    """A file's cells: row number -> column -> cell, None where empty. `unit`: what the row numbers count."""

    path: Path
    unit: Literal["line", "row"]
    rows: dict[int, dict[str, Any]]

    @property
    def names(self) -> list[str]:
        return list(next(iter(self.rows.values())))

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows.values()]

    def has_values(self, name: str) -> bool:
        return any(map(text_of, self.column(name)))

    def without(self, name: str) -> InputError:
        """The error for a column that the file does not have."""
        lowered = {own.lower(): own for own in self.names}
        close = difflib.get_close_matches(name.lower(), lowered, 1)
        nearest = f" (did you mean {lowered[close[0]]!r}?)" if close else ""
        return InputError(f"{self.path}: no column {name!r}{nearest}; its columns are {listing(self.names)}")


def read_file(path: Path) -> TableFile:
    """Read a table by its suffix. Raises InputError for another suffix, an unreadable file and duplicate columns."""
    suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
    if not path.is_file():
        raise InputError(f"{path}: {'a directory' if path.is_dir() else 'no such file'}; name a table's file")
    if suffix is None:
        raise InputError(f"{path}: not one of {', '.join(SUFFIXES)}; save the table as one of these")
    try:
        names, rows = _parsed(path.read_bytes(), suffix)
    except Exception as error:  # parsers raise many types, and a traceback does not help the file's owner
        reason = (str(error) or type(error).__name__).splitlines()[0]
        remedy = "save it again" if suffix == ".parquet" else "correct that, or save it again as UTF-8 text"
        raise InputError(f"{path}: not readable as {suffix} ({reason}); {remedy}") from None
    if not rows:
        raise InputError(f"{path}: no rows in it; name a table with a header and one row per trial")
    named = [name for name in names if name]  # unnamed: an exported index, or a trailing comma
    if twice := [name for name in named if named.count(name) > 1]:
        raise InputError(f"{path}: two columns are named {twice[0]!r}; rename one")
    cells = {n: {k: v for k, v in zip(names, row, strict=False) if k} for n, row in rows.items()}
    return TableFile(path, "row" if suffix == ".parquet" else "line", cells)


def _parsed(content: bytes, suffix: str) -> tuple[list[str], dict[int, list[Any]]]:
    """Column names, and the cells of each row by its number."""
    if suffix != ".parquet":
        content = gzip.decompress(content) if suffix.endswith(".gz") else content
        return _parsed_csv(content.decode("utf-8-sig"), "\t" if suffix == ".tsv" else ",")
    # From memory: given a path, pyarrow reads folders named `key=value` as columns.
    frame = pd.read_parquet(io.BytesIO(content), engine="pyarrow")
    frame = frame.reset_index() if any(frame.index.names) else frame
    cells = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return [str(name).strip() for name in frame], dict(enumerate(cells, start=1))


def _parsed_csv(text: str, separator: str) -> tuple[list[str], dict[int, list[Any]]]:
    """Read with csv, because pandas does not report line numbers and can drop surplus cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, line = {}, 1
    for row in reader:
        if any(cell.strip() for cell in row):
            rows[line] = row
        line = reader.line_num + 1
    header = [name.strip() for name in rows.pop(min(rows))] if rows else []
    if len(header) == 1 and ";" in header[0]:
        raise ValueError(f"its header is one column, {header[0][:40]!r}: is it separated by ; instead of commas?")
    for line, row in rows.items():
        if any(row[len(header) :]):
            raise ValueError(f"line {line} has {len(row)} cells, the header {len(header)}")
        row += [""] * (len(header) - len(row))
    return header, rows


def text_of(cell: Any) -> str:
    """The cell as text; "" where it is missing (see MISSING)."""
    text = "" if cell is None else str(cell).strip()
    return "" if text.lower() in MISSING else text


def number_of(cell: Any) -> float:
    """The cell as a number; NaN where it is missing or not a number."""
    try:
        return float(text_of(cell) or "nan")
    except ValueError:
        return math.nan


def listing(names: Iterable[str]) -> str:
    """The distinct names, at most MOST_VALUES of them, for a message."""
    every = list(dict.fromkeys(name or "(blank)" for name in names))
    more = f" and {len(every) - MOST_VALUES} more" if len(every) > MOST_VALUES else ""
    return ", ".join(every[:MOST_VALUES]) + more
