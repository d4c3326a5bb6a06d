"""Shakespeare's plays as they lie in the embedded text -> lines, with who speaks them, where, and what follows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

PLAIN = re.compile(r"[A-Z][A-Za-z ,;:'!?.-]{27,51}[a-z,;:!?.]")
NAME = re.compile(r"[A-Z]{3,}( [A-Z]{3,}){0,2}")  # no "First Citizen", of which there is one in many plays
CROWDS = ("ALL", "BOTH", "CHORUS", "PROLOGUE", "EPILOGUE")


@dataclass(frozen=True)
class Line:
    """A line of verse or prose that no other speech has. `after`: the next line of the same speech. `begin`: its first
    words, where no other line begins with them; else empty.
    """

    play: str
    act: str
    speaker: str
    text: str
    after: str
    begin: str = ""


@dataclass(frozen=True)
class Plays:
    """`cast`: the speakers of each play, sorted."""

    lines: list[Line]
    cast: dict[str, list[str]]


def read(documents: Iterable[str]) -> Plays:
    """The lines that questions can be asked about. A document without a title is left out."""
    documents = list(documents)
    found = [line for document in documents for line in _lines(document)]
    rows = [row.strip() for document in documents for row in document.split("\n")]  # also those of citizens and choirs
    often = Counter(rows)
    cast = {play: sorted({line.speaker for line in found if line.play == play}) for play in {x.play for x in found}}
    usable = [line for line in found if often[line.text] == 1 and PLAIN.fullmatch(line.text) and line.after]
    usable = [line for line in usable if often[line.after] == 1 and PLAIN.fullmatch(line.after)]
    begins = Counter(beginning for row in rows for beginning in accumulate(row.split(), "{} {}".format))
    return Plays([_with_begin(line, begins) for line in usable], cast)


def _with_begin(line: Line, begins: Counter[str]) -> Line:
    words = line.text.split()
    begin = " ".join(words[: len(words) // 2 + 1])
    return replace(line, begin=begin) if begins[begin] == 1 and begin != line.text else line


def _lines(document: str) -> Iterator[Line]:
    """Every line of a play that a named character speaks."""
    play = act = ""
    for block in re.split(r"\n\s*\n", document):
        rows = [row.strip() for row in block.strip().split("\n")]
        if rows[0].startswith("# ") and not play:
            play = rows[0][2:]
        elif rows[0].startswith("## "):
            act = rows[0].removeprefix("## ACT ") if rows[0].startswith("## ACT ") else ""
        spoken = re.fullmatch(r"\*\*(.+)\*\*", rows[0])
        if not (spoken and play and act and NAME.fullmatch(spoken[1]) and spoken[1] not in CROWDS):
            continue
        speaker = spoken[1].title()
        for text, after in zip(rows[1:], [*rows[2:], ""], strict=True):
            yield Line(play, act, speaker, text, after)
