"""The held-out texts: written as JSON Lines beside the blocks, and read one by one, also from other corpora."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it takes a second to import
    import datasets

FILE = "held_out.jsonl"


def write(texts: Iterable[str], folder: Path) -> None:
    """Write held-out or excluded texts into a folder as JSON Lines, for other runs to exclude and measure."""
    with (folder / FILE).open("w", encoding="utf-8") as lines:
        for text in texts:
            lines.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


class TextFile(Sequence[str]):
    """The texts of a file that `write` wrote. Memory holds where each begins."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as lines:
            self.starts = [0, *accumulate(map(len, lines))][:-1]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int) -> str:  # type: ignore[override]
        with self.path.open("rb") as lines:
            lines.seek(self.starts[row])
            return _text(lines.readline())

    def __iter__(self) -> Iterator[str]:
        with self.path.open("rb") as lines:
            yield from map(_text, lines)


class Rows(Sequence[str]):
    """Some rows of a table of texts."""

    def __init__(self, texts: datasets.Dataset, rows: list[int]) -> None:
        self.texts = texts.select(rows)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, row: int) -> str:  # type: ignore[override]
        return str(self.texts[row]["text"])

    def __iter__(self) -> Iterator[str]:
        return (row["text"] for row in self.texts)


class Together(Sequence[str]):
    """Texts from several places, one after another."""

    def __init__(self, parts: Sequence[Sequence[str]]) -> None:
        self.parts = parts
        self.starts = [0, *accumulate(map(len, parts))]

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, row: int) -> str:  # type: ignore[override]
        part = bisect_right(self.starts, row) - 1
        return self.parts[part][row - self.starts[part]]

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self.parts)


def _text(line: bytes) -> str:
    return str(json.loads(line)["text"])
