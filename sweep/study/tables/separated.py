"""Text in columns, with any separator: its header and its rows by line number.

Read with csv, because pandas does not report line numbers and can drop surplus cells.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from typing import NamedTuple

BLANKS = " "
USUAL = (",", ";", "\t", "|")
PRELUDE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # the first line by which a spreadsheet is told the separator
RULE = re.compile(r"[:\s]*-[-:\s=+|]*|[:\s]*=[-:\s=+|]*")  # a cell of the line under a header in Markdown
NUMBER = re.compile(r"[-+]?\d*[.,]?\d+([eE][-+]?\d+)?%?")
FEWEST_NAMED = 3  # rows: of fewer, a decimal comma may look like their numbers
SHOWN = 40  # characters of a line in a message
OPEN_QUOTE = "unexpected end of data"  # as the library words it
LONGEST_CELL = 2**31 - 1  # characters; the library's own limit is 131,072, and a tracker's configuration may be longer


class HeadedRows(NamedTuple):
    """A header and rows: number of the line at which a row begins -> its cells. `above`: lines over the header."""

    header: list[str]
    rows: dict[int, list[str]]
    above: int = 0


def parsed(text: str) -> HeadedRows:
    """The rows of a text in columns. Raises ValueError where no separator gives columns, and where a row has more
    cells than the header."""
    said = PRELUDE.fullmatch(text.split("\n", 1)[0].strip())
    found = {mark: _parsed(text, mark, bool(said)) for mark in ([said[1]] if said else _candidates(text))}
    grids = {mark: grid for mark, grid in found.items() if isinstance(grid, HeadedRows)}
    wide = {mark: grid for mark, grid in grids.items() if len(grid.header) > 1}
    if not wide:
        errors = [
            error for mark, error in found.items() if isinstance(error, csv.Error) and (mark in text or not grids)
        ]
        if errors:
            raise ValueError(errors[0])
        return _refuse_one_column(next(iter(grids.values()), HeadedRows([], {})))
    return _checked(wide[max(wide, key=lambda mark: _agreement(wide[mark]))])  # the first of equals


def _candidates(text: str) -> list[str]:
    """Separators to try, the usual ones first; of the others those that an early line holds."""
    early = text[:2000]
    other = dict.fromkeys(c for c in early if not (c.isalnum() or c.isspace() or c in "._-+/%()[]{}<>@#'\"=\\" + ",;|"))
    return [*USUAL, BLANKS, *list(other)[:5]]


def _parsed(text: str, separator: str, skip: bool) -> HeadedRows | csv.Error:
    if separator == BLANKS:
        text = "\n".join(line.strip(" \t") for line in re.split(r"\r\n|\r|\n", text)).replace("\t", " ")
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=separator == BLANKS
    )
    rows, line = {}, 1
    csv.field_size_limit(LONGEST_CELL)
    try:
        for row in reader:
            if any(cell.strip() for cell in row) and not (skip and line == 1):
                rows[line] = row
            line = reader.line_num + 1
    except csv.Error as error:
        problem = "a quote opens and never closes" if str(error) == OPEN_QUOTE else str(error)
        return csv.Error(f"line {line}: {problem}")
    return _headed(rows)


def _headed(rows: dict[int, list[str]]) -> HeadedRows:
    """The rows under their header, without the comments and the title above it."""
    lines = list(rows)
    while lines and rows[lines[0]][0].lstrip().startswith("#"):
        first = [cell.strip() for cell in rows[lines[0]]]
        first = [first[0].lstrip("# "), *first[1:]] if first[0].strip("# ") else first[1:]
        below = rows[lines[1]] if len(lines) > 1 else []
        if len(first) > 1 and len(first) == len(below) and not below[0].lstrip().startswith("#"):
            rows[lines[0]] = first  # the header itself, as numpy.savetxt writes it
            break
        del rows[lines.pop(0)]
    return under_header({line: rows[line] for line in lines})


def under_header(rows: dict[int, list[str]]) -> HeadedRows:
    """The first row with several cells as the header, without the titles above it, and the rows below."""
    several = [
        line for line, row in rows.items() if sum(bool(str(cell).strip()) for cell in row if cell is not None) > 1
    ]
    head = several[0] if several else next(iter(rows), 0)
    header = ["" if name is None else str(name).strip() for name in rows.get(head, [])]
    below = {line: row for line, row in rows.items() if line > head and not all(map(_ruled, row))}
    return HeadedRows(header, below, sum(line < head for line in rows))


def _ruled(cell: object) -> bool:
    return not str(cell).strip() or RULE.fullmatch(str(cell).strip()) is not None


def _agreement(grid: HeadedRows) -> tuple[bool, float]:
    """Whether the header has names, and the share of the lines that have as many cells as it."""
    sizes = Counter(len(row) for row in grid.rows.values())
    wanted = len(grid.header) + 1 if _row_names(grid) else len(grid.header)
    return not _numeric(grid.header), sizes[wanted] / max(sum(sizes.values()) + grid.above, 1)


def _numeric(names: list[str]) -> bool:
    return all(NUMBER.fullmatch(name) for name in names if name)


def _row_names(grid: HeadedRows) -> bool:
    """Whether each row has one cell more than the header: its name or number, as R and pandas print tables."""
    rows = list(grid.rows.values())
    if len(rows) < FEWEST_NAMED or any(len(row) != len(grid.header) + 1 for row in rows):
        return False
    names = [row[0].strip() for row in rows]
    counted = [[str(n + start) for n in range(len(rows))] for start in (0, 1)]
    return names in counted or (len(set(names)) == len(names) and not any(map(NUMBER.fullmatch, names)))


def _checked(grid: HeadedRows) -> HeadedRows:
    header, rows, above = grid
    if _numeric(header):
        raise ValueError("its first line holds numbers: write the names of the columns above them")
    if _row_names(grid):
        header = ["", *header]
    for line, row in rows.items():
        if any(cell.strip() for cell in row[len(header) :]):
            raise ValueError(
                f"line {line} has {len(row)} cells, the header {len(header)}: "
                f"write decimal points in place of decimal commas, or quote such cells"
            )
        row += [""] * (len(header) - len(row))
    return HeadedRows(header, rows, above)


def _refuse_one_column(grid: HeadedRows) -> HeadedRows:
    if not grid.rows:
        return grid
    name = grid.header[0]
    raise ValueError(f"its header is one column, {name[:SHOWN]!r}: separate the columns by commas")
