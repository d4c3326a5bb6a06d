"""Plain text: a file that is one document, or one whose paragraphs are."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.data.readers import opening
from trainers.data.readers.place import Place

FIELD = "text"
SHIFT = "\x1b$"  # to characters of two bytes, in ISO-2022-JP and its like, whose bytes are all ASCII


def documents(place: Place, encoding: str, by_paragraph: bool) -> Iterator[bytes]:
    """The documents of a file as UTF-8; line ends become \\n. Paragraphs end with a blank line: empty, or white
    space (also U+3000).

    Raises InputError that names file and line for what is no text.
    """
    start, size = 1, 0
    part: list[str] = []
    for number, line in enumerate(opening.lines(place, encoding, newline=None), 1):
        if "\0" in line:
            problem = "it is binary or damaged, or UTF-16 (then state `encoding: utf-16-le`)"
            raise place.fault(f"holds NUL bytes: {problem}", number)
        if SHIFT in line and encoding.lower().startswith("utf"):
            raise place.fault("holds escape sequences of ISO-2022: state its `encoding:` (iso2022_jp, ...)", number)
        line = "\n" if by_paragraph and line.isspace() else line
        if by_paragraph and part and line == "\n":
            if text := place.document("".join(part).removesuffix("\n"), FIELD, start):
                yield text
            part, size, start = [], 0, number + 1
            continue
        part.append(line)
        size += len(line)
        if size > opening.LONGEST:
            raise place.fault(f"a document of over {opening.LONGEST:,} characters: cut it into several", start)
    text = place.document("".join(part), FIELD, start)
    if text or not by_paragraph:
        yield text
