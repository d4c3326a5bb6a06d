"""The text of a table's file, in the encoding that its bytes show."""

from __future__ import annotations

import re

from sweep.study.files.marks import encoding_of

HEAD = 4096  # bytes in which NULs show UTF-16 without a mark
WIDE = 0.3  # share of NULs at even or at odd places; a table in ASCII letters and digits has nearly a half
HIGH = re.compile(rb"[\x81-\xfe][\x40-\xfe]")  # two bytes of GB 18030
COMMON = re.compile(rb"[\xa1-\xa9\xb0-\xd7][\xa1-\xfe]")  # of them, punctuation and the 3,755 most frequent characters
BINARY = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1e\x7f]")  # no text has these
BINARY_TOLD = "it is not text"


def decoded(content: bytes) -> tuple[str, str]:
    """The text and the name of its encoding. Raises ValueError for bytes that are no text.

    Bytes that are not UTF-8 are GB 18030 where most pairs of them are frequent Chinese characters, else Windows-1252,
    else Latin-1: numbers are read right in each, names of columns perhaps not.
    """
    marked = encoding_of(content)
    encoding = "utf-8-sig" if marked == "utf-8" else marked or _unmarked(content)
    text = content.decode(encoding).rstrip("\x1a")  # the end of a file of DOS
    if found := BINARY.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"{BINARY_TOLD}: line {line} holds the control character {found[0]!r}")
    return text, encoding


def _unmarked(content: bytes) -> str:
    head = content[:HEAD]
    if b"\x00" in head:
        nuls = {"utf-16-be": head[::2].count(0), "utf-16-le": head[1::2].count(0)}
        found = next((name for name, count in nuls.items() if count > WIDE * len(head)), None)
        if found is None:
            raise ValueError(f"{BINARY_TOLD}: line {head[: head.index(0)].count(10) + 1} holds a NUL")
        return found
    pairs = HIGH.findall(content)
    chinese = sum(bool(COMMON.fullmatch(pair)) for pair in pairs) > len(pairs) / 2
    return next(
        name for name in ("utf-8", *(["gb18030"] if chinese else []), "cp1252", "latin-1") if _is(content, name)
    )


def _is(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
