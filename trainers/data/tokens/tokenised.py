"""The documents of a corpus as token ids in one file, in their order, with the special tokens at their borders."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import datasets
import numpy as np
from numpy.typing import NDArray

from sweep.study.errors import shown
from trainers.data.tokens.text_tokenizer import TextTokenizer

log = logging.getLogger(__name__)
NAMED = 3  # special tokens, in a warning
FILE = "tokens.int32"
AT_ONCE = 1_000  # documents


@dataclass(frozen=True)
class Tokenised:
    """Token ids on disk. `tokens` and `bytes` of each document; the tokens are counted with those of its borders.

    `special`: how often the string of a special token is in the text, by string. `inside`: the number of documents in
    which a border is a token of the text.
    """

    file: Path
    tokens: NDArray[np.int64]
    bytes: NDArray[np.int64]
    special: dict[str, int]
    inside: int

    def read(self, rows: Iterable[int]) -> NDArray[np.int32]:
        """The token ids of some documents, one after another."""
        ids = np.memmap(self.file, np.int32, "r")
        return np.concatenate([ids[self._ends[row] - self.tokens[row] : self._ends[row]] for row in rows])

    def tell(self, where: str) -> None:
        """Warn of special tokens in the text. `where`: the study's field."""
        if self.special:
            names = sorted(self.special, key=lambda name: (-self.special[name], name))
            count = sum(self.special.values())
            log.warning(
                "%s: special tokens of the tokenizer stand in the text, %s as %s: they are read as text",
                where,
                "once" if count == 1 else f"{count:,} times",
                ", ".join(map(shown, names[:NAMED])) + (", ..." if names[NAMED:] else ""),
            )
        if self.inside:
            log.warning(
                "%s: in %d of %d documents a token of the text is the same as the one between documents: give the base "
                "model's tokenizer an eos_token that is no text",
                where,
                self.inside,
                len(self.tokens),
            )

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum(self.tokens)


def tokenise(
    texts: datasets.Dataset, tokenizer: TextTokenizer, folder: Path, progress: Callable[[float], None]
) -> Tokenised:
    """Tokenise documents into a file in `folder`. Memory holds a batch, and two integers for each document."""
    before, after = (np.array(ids, np.int32) for ids in (tokenizer.borders.before, tokenizer.borders.after))
    tokens: list[int] = []
    sizes: list[int] = []
    special: dict[str, int] = {}
    inside = 0
    with (folder / FILE).open("wb") as file:
        for first in range(0, len(texts), AT_ONCE):
            some = texts[first : first + AT_ONCE]["text"]
            for text, ids in zip(some, tokenizer.tokens(some), strict=True):
                document = np.concatenate([before, ids, after])
                document.tofile(file)
                tokens.append(len(document))
                sizes.append(len(text.encode()))
                inside += tokenizer.inside(ids)
                for name in tokenizer.special.findall(text):
                    special[name] = special.get(name, 0) + 1
            progress(len(tokens) / len(texts))
    return Tokenised(folder / FILE, np.array(tokens, np.int64), np.array(sizes, np.int64), special, inside)
