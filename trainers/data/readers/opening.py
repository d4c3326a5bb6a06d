"""Opening a text file of a corpus: pointers, compression and encoding, and its lines.

Whatever goes wrong is an InputError of our own words that names file and line.
"""

from __future__ import annotations

import codecs
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from sweep.study.errors import shown
from sweep.study.files.patterns import COMPRESSED
from trainers.data.readers import letters
from trainers.data.readers.place import Place

LONGEST = 2**28  # characters of one line, and of one document
MOST_EMPTY = 1_000_000  # lines, one after another: a small compressed file may have billions
HEAD = 64 * 1024
POINTER_BYTES = 1024  # a pointer file is shorter
POINTERS = {
    "Git LFS (git lfs pull)": re.compile(rb"version https?://[^\n]+/spec/v\d"),
    "git-annex (git annex get)": re.compile(rb"[^\n]{0,300}annex/objects/[^\n]"),
    "the Hugging Face cache (hf download)": re.compile(rb"(\.\./)+blobs/[0-9a-f]{32,}"),
    "git-fat (git fat pull)": re.compile(rb"#\$# git-fat [0-9a-f]{40}"),
    "Xet (git xet checkout)": re.compile(rb"# xet version"),
}
MAGIC = {
    ".gz": re.compile(rb"\x1f\x8b"),
    ".zst": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", re.DOTALL),  # a frame, or one to skip
    ".bz2": re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),
    ".xz": re.compile(rb"\xfd7zXZ\x00"),
}
OPENERS: dict[str, Callable[[str], Any]] = {
    "": lambda path: open(path, "rb"),  # noqa: SIM115 (closed with its TextIOWrapper)
    ".gz": gzip.open,
    ".zst": lambda path: pa.CompressedInputStream(pa.PythonFile(open(path, "rb")), "zstd"),  # noqa: SIM115
    ".bz2": lambda path: pa.CompressedInputStream(pa.PythonFile(open(path, "rb")), "bz2"),  # noqa: SIM115
    ".xz": lzma.open,
}
DAMAGED = "its compressed data is damaged or cut off here: fetch the file again"
CUT = ("unexpected end of data", "incomplete multibyte sequence", "truncated data")  # reasons of decoders, at the end


def refuse_pointer(place: Place) -> None:
    """Raises InputError where the file only points to its content in a large-file store, or cannot be opened."""
    with reading(place):
        head = _head(place.name, POINTER_BYTES + 1)
    for store, pointer in POINTERS.items():
        if len(head) <= POINTER_BYTES and pointer.match(head):
            name, _, command = store.rstrip(")").partition(" (")
            raise place.fault(f"is only a pointer to a file in {name}: fetch its content ({command})")


def lines(place: Place, encoding: str, newline: str | None = "\n") -> Iterator[str]:
    """The lines of a text file, with their ends, without a byte-order mark. `newline` is that of `open`.

    Raises InputError for what cannot be decompressed or decoded, for UTF-8 in a file that is stated to be something
    else, and for a line of more than LONGEST characters.
    """
    number = empty = 0
    with reading(place, lambda: number + 1):
        try:
            opened, decoded = _opened(place, encoding), letters.Decoded(encoding)
            with io.TextIOWrapper(io.BufferedReader(opened, HEAD), encoding=encoding, newline=newline) as stream:
                while line := stream.readline(LONGEST):
                    number += 1
                    if len(line) == LONGEST:
                        raise place.fault(f"has more than {LONGEST:,} characters: cut it into several", number)
                    empty = empty + 1 if line == "\n" else 0
                    if empty > MOST_EMPTY:
                        raise place.fault(f"{MOST_EMPTY:,} empty lines in a row: remove them", number)
                    decoded.line(line, number)
                    yield line.lstrip("\ufeff") if number == 1 else line
                opened.refuse(place)
                decoded.refuse(place)
        except UnicodeError as error:
            opened.refuse(place)
            problem, more = _undecodable(error, encoding)
            raise place.fault(problem, number + 1 + more) from None


@contextmanager
def reading(place: Place, line: Callable[[], int | None] = lambda: None, damage: str = DAMAGED) -> Iterator[None]:
    """Turn the errors of reading and decompressing into InputErrors. `line` is where the reader stands."""
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno is not None:  # else it is of a decompressor
            fix = "correct its permissions, or fetch it again"
            raise place.fault(f"cannot be read ({error.strerror}): {fix}") from None
        raise place.fault(damage, line()) from None


def _head(path: str, size: int) -> bytes:
    with open(path, "rb") as raw:
        return raw.read(size)


def _opened(place: Place, encoding: str) -> letters.Watched:
    """The file's bytes, decompressed, after a look at the first of them."""
    head, ending = _head(place.name, 16), Path(place.name).suffix.lower()
    found = next((compression for compression, magic in MAGIC.items() if magic.match(head)), "")
    if head and ending in COMPRESSED and found != ending:
        raise place.fault(f"is not {ending} data: correct its name, or fetch it again")
    if codecs.lookup(encoding).name in letters.UTF8:
        return letters.Watched(OPENERS[found](place.name), encoding)
    with letters.Watched(OPENERS[found](place.name), encoding) as stream:
        if problem := letters.marked(stream.read(HEAD) or b"", encoding):
            raise place.fault(problem, 1)
        stream.refuse(place)
    return letters.Watched(OPENERS[found](place.name), encoding)


def _undecodable(error: UnicodeError, encoding: str) -> tuple[str, int]:
    """What is wrong, and the number of lines before it in the piece that was decoded."""
    piece: bytes = getattr(error, "object", b"")
    good = piece[: getattr(error, "start", 0)]
    if problem := letters.marked(piece, encoding):
        return problem, 0
    if piece.startswith(b"PAR1"):
        return "is a parquet file: correct its name", 0
    before = good.decode(getattr(error, "encoding", encoding), "ignore").count("\n")
    if b"\0" in piece and codecs.lookup(encoding).name == "utf-8":
        return "is binary, not text: correct the path, or fetch the file again", before
    bad = shown(piece[len(good) : len(good) + 4])
    reason = getattr(error, "reason", "")
    if "surrogate" in reason:
        return f"holds half a surrogate pair (the bytes {bad}), which is no character: correct or remove it", before
    if reason in CUT:
        fix = f"fetch the file again, or state its `encoding:` if that is not {encoding}"
        return f"is cut off inside a character (the bytes {bad}): {fix}", before
    fix = "state the right `encoding:` (gb18030, latin-1, ...), or convert the file to UTF-8"
    return f"not readable as {encoding} (the bytes {bad}): {fix}", before
