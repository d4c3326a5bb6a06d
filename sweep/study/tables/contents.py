"""The bytes of a table's file, unpacked. A compression is known by its first bytes, whatever the file's name says."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable

import pyarrow as pa

WORKBOOK = "xl/workbook.xml"  # the member by which an .xlsx file is known among zip files
MOST_MEMBERS = 3  # named in a message


def unpacked(content: bytes) -> bytes:
    """The content without its compression. Raises ValueError for a zip file that does not hold exactly one file, and
    what the decompressor raises for damaged content."""
    for magic, unpack in COMPRESSIONS.items():
        if content.startswith(magic):
            return unpack(content)
    return content


def is_workbook(content: bytes) -> bool:
    """Whether the content is an .xlsx file, which is a zip file itself."""
    if not content.startswith(b"PK\x03\x04"):
        return False
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return WORKBOOK in archive.namelist()


def _zstd(content: bytes) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
        return bytes(stream.read())


def _zip(content: bytes) -> bytes:
    if is_workbook(content):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
        if len(names) != 1:
            first = ", ".join(map(repr, names[:MOST_MEMBERS])) + (", ..." if len(names) > MOST_MEMBERS else "")
            raise ValueError(f"it holds {len(names)} files{f', {first}' if names else ''}: unpack the one to read")
        return unpacked(archive.read(names[0]))


COMPRESSIONS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"\x28\xb5\x2f\xfd": _zstd,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
    b"PK\x03\x04": _zip,
}
