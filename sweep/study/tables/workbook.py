"""Rows of an Excel workbook by their number in the sheet. No formula is evaluated: its last value is read."""

from __future__ import annotations

import io
from typing import Any

from sweep.study.tables.contents import MOST_CELLS
from sweep.study.tables.separated import under_header

MISSING_LIBRARY = "it needs openpyxl: pip install 'almr-sweep[excel]', or save it as .csv"


def parsed(content: bytes) -> tuple[list[str], dict[int, list[Any]], str | None]:
    """The header, the rows by number, and a note where it has several sheets. Raises ValueError without openpyxl."""
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise ValueError(MISSING_LIBRARY) from None
    book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    sheets = {sheet.title: rows for sheet in book.worksheets if (rows := _rows(sheet))}
    if not sheets:
        return [], {}, None
    title, rows = next(iter(sheets.items()))
    header, below, _ = under_header(rows)
    cells = {n: [*row[: len(header)], *[None] * (len(header) - len(row))] for n, row in below.items()}
    note = f"read the sheet {title!r}, the first of {len(sheets)} with cells" if len(sheets) > 1 else None
    return header, cells, note


def _rows(sheet: Any) -> dict[int, list[Any]]:
    """The rows with cells. Raises ValueError for more cells than are read in seconds."""
    sheet.reset_dimensions()  # a sheet may state millions of rows and columns that it does not have
    found, cells = {}, 0
    for n, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells += 1 + len(row)
        if cells > MOST_CELLS:
            raise ValueError(f"over {MOST_CELLS:,} cells, empty ones among them: save the table as .csv")
        if any(cell is not None and str(cell).strip() for cell in row):
            found[n] = list(row)
    return found
