"""The bytes of a table's file, unpacked. A compression is known by its first bytes, whatever the file's name says.

A file of some kilobytes may unpack to terabytes: each is unpacked up to LARGEST, and is refused where it goes on.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from sweep.study.errors import shown

WORKBOOK = "xl/workbook.xml"  # the member by which an .xlsx file is known among zip files
MOST_MEMBERS = 3  # named in a message
LARGEST = 32_000_000  # bytes of a table: 5,000 trials of 100 columns take 5 million
MOST_ROWS, MOST_COLUMNS, MOST_CELLS = 50_000, 5000, 2_000_000  # of a file; a fit takes 5,000 trials
LZMA_MEMORY = 2**28  # bytes of its dictionary, which a file may ask for
DEEPEST = 3  # compressions inside one another


def read(path: Path) -> bytes:
    """The file, unpacked. Raises OSError, ValueError for one that is too large and for a zip file that does not hold
    exactly one file, and what the decompressor raises for damaged content."""
    with path.open("rb") as opened:
        return _unpacked(_bounded(opened, "it"), DEEPEST)


def refuse_large(rows: int, columns: int) -> None:
    """Raises ValueError for a table beyond what is read in seconds."""
    if rows > MOST_ROWS:
        raise ValueError(
            f"{rows:,} rows, over {MOST_ROWS:,}: a table has one row per trial: leave out the steps of a history"
        )
    if columns > MOST_COLUMNS:
        raise ValueError(f"{columns:,} columns, over {MOST_COLUMNS:,}: leave out those that no fit reads")
    if rows * columns > MOST_CELLS:
        raise ValueError(
            f"{rows:,} rows x {columns:,} columns = {rows * columns:,} cells, over {MOST_CELLS:,}: give one row per "
            f"trial, and leave out columns that no fit reads"
        )


def _bounded(opened: Any, what: str) -> bytes:
    content = bytes(opened.read(LARGEST + 1))
    if len(content) > LARGEST:
        size = f"{LARGEST // 1_000_000} MB"
        raise ValueError(f"{what} is over {size}: give one row per trial, and leave out columns that no fit reads")
    return content


def _unpacked(content: bytes, depth: int) -> bytes:
    unpack = next((unpack for magic, unpack in COMPRESSIONS.items() if content.startswith(magic)), None)
    if unpack is None or is_workbook(content):
        return content
    if not depth:
        raise ValueError(f"it is compressed over {DEEPEST} times: unpack it")
    with unpack(content) as opened:
        return _unpacked(_bounded(opened, "unpacked it"), depth - 1)


def is_workbook(content: bytes) -> bool:
    """Whether the content is an .xlsx file, which is a zip file itself. Raises ValueError for a too large one."""
    if not content.startswith(b"PK\x03\x04"):
        return False
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = WORKBOOK in archive.namelist()
        size = sum(member.file_size for member in archive.infolist())
    if found and size > LARGEST:
        raise ValueError(f"unpacked it is {size // 1_000_000:,} MB, over {LARGEST // 1_000_000}: save it as .csv")
    return found


def _zstd(content: bytes) -> Any:
    return pa.CompressedInputStream(pa.BufferReader(content), "zstd")


def _xz(content: bytes) -> Any:
    lzma.LZMADecompressor(lzma.FORMAT_XZ, LZMA_MEMORY).decompress(content, 1)  # raises where it asks for more
    return lzma.LZMAFile(io.BytesIO(content))


def _zip(content: bytes) -> Any:
    archive = zipfile.ZipFile(io.BytesIO(content))
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(names) != 1:
        first = ", ".join(shown(name) for name in names[:MOST_MEMBERS]) + (", ..." if len(names) > MOST_MEMBERS else "")
        raise ValueError(f"it holds {len(names):,} files{f', {first}' if names else ''}: unpack the one to read")
    return archive.open(names[0])


COMPRESSIONS: dict[bytes, Callable[[bytes], Any]] = {
    b"\x1f\x8b": lambda content: gzip.GzipFile(fileobj=io.BytesIO(content)),
    b"\x28\xb5\x2f\xfd": _zstd,
    b"BZh": lambda content: bz2.BZ2File(io.BytesIO(content)),
    b"\xfd7zXZ\x00": _xz,
    b"PK\x03\x04": _zip,
}
