"""Columns of text: of parquet files, and of data sets in Arrow tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sweep.study.errors import shown
from sweep.study.files import patterns
from trainers.data.readers import opening
from trainers.data.readers.alike import Alike
from trainers.data.readers.place import Place, inside, names
from trainers.data.readers.record_text import RecordText

ROWS = 1000  # read at once
NOT_WHOLE = "is no whole parquet file: fetch it again, or correct its name"
TEXT = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,  # text of a writer that does not say so
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_null,
)


def parquet(place: Place, field: str, alike: Alike) -> Iterator[bytes]:
    """The texts of one column of a parquet file as UTF-8, in order; the other columns are not read.
    `alike` is told the schema.

    Raises InputError that names the file, and the row where one is wrong.
    """
    with _opened(place, alike) as opened:
        path = column_path(place, opened.schema_arrow, field)
        yield from documents(place, opened.iter_batches(ROWS, columns=[".".join(path)]), path)


def parquet_records(place: Place, read_as: RecordText, alike: Alike) -> Iterator[bytes]:
    """The rows of a parquet file as texts, in order; only the columns that these need are read.

    Raises InputError that names the file, and the row where one is wrong.
    """
    with _opened(place, alike) as opened:
        present = read_as.present(place, opened.schema_arrow.names)
        yield from record_texts(place, opened.iter_batches(ROWS, columns=present), read_as)


def record_texts(place: Place, batches: Iterable[pa.RecordBatch], read_as: RecordText) -> Iterator[bytes]:
    """The rows of Arrow batches as texts."""
    number = 0
    for batch in batches:
        try:
            rows = batch.to_pylist()
        except UnicodeDecodeError:
            raise place.fault("holds bytes that are not UTF-8: write the file again from its text") from None
        for row in rows:
            number += 1
            yield read_as.text(place, row, number)


@contextmanager
def _opened(place: Place, alike: Alike) -> Iterator[pq.ParquetFile]:
    if place.name.lower().endswith(patterns.COMPRESSED):
        raise place.fault("parquet is compressed inside: decompress the file around it first")
    with opening.reading(place, damage=NOT_WHOLE), open(place.name, "rb") as raw:
        opened = pq.ParquetFile(raw, pre_buffer=False)  # with a buffer, whole row groups wait in memory
        alike.schema(opened.schema_arrow)
        yield opened


def column_path(place: Place, schema: pa.Schema, field: str) -> list[str]:
    """The names that lead to a column: its own, or those of the structs that it is in (`content.text`).

    Raises InputError where there is no such column, or it holds no text.
    """
    path = [field] if field in schema.names else field.split(".")
    kind: Any = pa.struct(list(schema))
    for part in path:
        known = [inner.name for inner in kind] if pa.types.is_struct(kind) else []
        if known.count(part) > 1:
            raise place.fault(f"two columns are called {shown(part)}: rename one")
        if part not in known:
            raise place.fault(f"there is no {shown(field)}; {names(schema.names, 'columns')}")
        kind = _plain(kind.field(part).type)
    if not _is_text(kind):
        problem = f"{shown(field)} holds {shown(str(kind))}, not text"
        texts = [inner.name for inner in kind if _is_text(inner.type)] if pa.types.is_struct(kind) else []
        raise place.fault(
            f"{problem}: {inside(field, texts[0])}" if texts else f"{problem}; {names(schema.names, 'columns')}"
        )
    return path


def _is_text(kind: Any) -> bool:
    return any(holds(kind) for holds in TEXT)


def _plain(kind: Any) -> Any:
    """The type of the values behind a dictionary, a run-length encoding or an extension."""
    while inner := getattr(kind, "storage_type", None) or getattr(kind, "value_type", None):
        if not isinstance(kind, pa.BaseExtensionType | pa.DictionaryType | pa.RunEndEncodedType):
            break
        kind = inner
    return kind


def documents(place: Place, batches: Iterable[pa.RecordBatch], path: list[str]) -> Iterator[bytes]:
    """The texts of a column in UTF-8; empty where one is null. `path` is that of `column_path`."""
    number = 0
    for batch in batches:
        column: Any = batch.column(batch.schema.get_field_index(path[0]))
        for part in path[1:]:
            column = pc.struct_field(column, part)
        for value in _dense(column).cast(pa.large_binary()).to_pylist():
            number += 1
            yield place.document(_decoded(place, value, number), path[-1], number)


def _dense(column: Any) -> Any:
    while True:
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        elif isinstance(column, pa.DictionaryArray):
            column = column.dictionary_decode()
        elif isinstance(column, pa.RunEndEncodedArray):
            column = pc.run_end_decode(column)
        else:
            return column


def _decoded(place: Place, value: bytes | None, number: int) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        raise place.fault("holds bytes that are not UTF-8: write the file again from its text", number) from None
