"""A table's file as rows of cells, with their line or row numbers.

No content is evaluated. Cells of text files are read as text and converted by `float`: numbers are exact, and messages
can quote the cell.
"""

from __future__ import annotations

import difflib
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sweep.study.errors import InputError, one_line
from sweep.study.files.patterns import what_it_is
from sweep.study.tables import contents, json_rows, separated, workbook
from sweep.study.tables.cells import Rows, listing, shown, text_of
from sweep.study.tables.decoding import decoded

PLAIN = (".csv", ".tsv", ".txt", ".dat", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx")
PACKED = (".gz", ".zst", ".bz2", ".xz", ".zip")
FEW_ROWS = 100  # of parquet, read at once
MOST_REASON = 160  # letters of a library's message
UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


@dataclass(frozen=True)
class TableFile:
    """A file's cells: row number -> column -> cell, None where empty. `unit`: what the row numbers count, "line" or
    "row". `notes`: what a user should know of how it was read."""

    path: Path
    unit: str
    rows: Rows
    notes: tuple[str, ...] = ()

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
        nearest = f" (did you mean {shown(lowered[close[0]])!r}?)" if close else ""
        return InputError(f"{self.path}: no column {shown(name)!r}{nearest}; its columns are {listing(self.names)}")


def is_table(name: str) -> bool:
    """Whether a file of that name may be a table, compressed or not."""
    return name.lower().endswith((*PLAIN, *PACKED))


def read_file(path: Path) -> TableFile:
    """Read a table: text in columns, JSON, parquet or a workbook, compressed or not.

    Raises InputError for a file of another kind, an unreadable one, and duplicate columns.
    """
    if not path.is_file():
        raise InputError(f"{path}: {what_it_is(path)}; name a table's file")
    if not is_table(path.name):
        raise InputError(f"{path}: not one of {', '.join(PLAIN)}; save the table as one of these")
    try:
        file = _parsed(path)
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{path}: its values are nested too deeply: write one flat object per trial") from None
    except Exception as error:  # parsers raise many types, and a traceback does not help the file's owner
        reason = shown_reason(error)
        raise InputError(f"{path}: not readable as a table ({reason}); correct that, or save it again") from None
    if not file.rows or not file.names:
        raise InputError(f"{path}: no rows in it; name a table with a header and one row per trial")
    return file


def shown_reason(error: Exception) -> str:
    """The first words of an error's message, on one line."""
    return one_line(error, MOST_REASON)


def _parsed(path: Path) -> TableFile:
    content = contents.read(path)
    if contents.is_workbook(content):
        header, rows, note = workbook.parsed(content)
        return TableFile(path, "row", _by_name(path, header, rows), (note,) if note else ())
    if content.startswith(b"PAR1"):
        return TableFile(path, "row", _by_name(path, *_parquet(content)))
    text, encoding = decoded(content)
    notes = () if encoding in UNICODE else (f"read as {encoding}, because it is not UTF-8",)
    if json_rows.looks_like_json(text):
        unit, found = json_rows.parsed(text)
        contents.refuse_large(len(found), max(map(len, found.values()), default=0))
        return TableFile(path, unit, _filled(found), notes)
    contents.refuse_large(len(json_rows.LINE_END.findall(text)), 0)
    header, rows, _ = separated.parsed(text)
    contents.refuse_large(len(rows), len(header))
    return TableFile(path, "line", _by_name(path, header, rows), notes)


def _parquet(content: bytes) -> tuple[list[str], dict[int, list[Any]]]:
    # From memory: given a path, pyarrow reads folders named `key=value` as columns.
    with pq.ParquetFile(io.BytesIO(content)) as opened:
        contents.refuse_large(opened.metadata.num_rows, opened.metadata.num_columns)
        batches: list[Any] = []
        size = 0
        for batch in opened.iter_batches(FEW_ROWS):  # a large cell that is stored once may stand in all rows
            batches, size = [*batches, batch], size + batch.nbytes
            if size > contents.LARGEST:
                raise ValueError(
                    f"unpacked it is over {contents.LARGEST // 10**6} MB: leave out columns that no fit reads"
                )
        frame = pa.Table.from_batches(batches, opened.schema_arrow).to_pandas()
    frame = frame.reset_index() if any(frame.index.names) else frame
    cells = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return [str(name).strip() for name in frame], dict(enumerate(cells, start=1))


def _by_name(path: Path, names: list[str], rows: dict[int, list[Any]]) -> Rows:
    """Rows of named cells. Raises InputError where two columns have one name."""
    named = [name for name in names if name]  # unnamed: an exported index, or a trailing comma
    if twice := [name for name, count in Counter(named).items() if count > 1]:
        raise InputError(f"{path}: two columns are named {shown(twice[0])!r}; rename one")
    return _filled({n: {k: v for k, v in zip(names, row, strict=False) if k} for n, row in rows.items()})


def _filled(rows: Rows) -> Rows:
    """Rows of one set of names, nested cells by dotted name."""
    rows = {n: json_rows.flat(row) for n, row in rows.items()}
    names = dict.fromkeys(name for row in rows.values() for name in row)
    return {n: {name: row.get(name) for name in names} for n, row in rows.items()}
