"""Byte order marks: what a text file may begin with, which names its encoding."""

from __future__ import annotations

import codecs

MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def encoding_of(content: bytes) -> str | None:
    """The encoding whose mark the bytes begin with; None where they begin with none."""
    return next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
