"""The documents of a corpus as token ids in one file, in their order, with the end-of-text token after each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

FILE = "tokens.int32"
AT_ONCE = 1_000  # documents


@dataclass(frozen=True)
class Tokenised:
    """Token ids on disk. `tokens` and `bytes` of each document; the tokens are counted with its end."""

    file: Path
    tokens: NDArray[np.int64]
    bytes: NDArray[np.int64]

    def read(self, rows: Iterable[int]) -> NDArray[np.int32]:
        """The token ids of some documents, one after another."""
        ids = np.memmap(self.file, np.int32, "r")
        return np.concatenate([ids[self._ends[row] - self.tokens[row] : self._ends[row]] for row in rows])

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum(self.tokens)


def tokenise(texts: datasets.Dataset, tokenizer: Any, folder: Path, progress: Callable[[float], None]) -> Tokenised:
    """Tokenise documents into a file in `folder`. Memory holds a batch, and two integers for each document."""
    end, tokens, sizes = [tokenizer.eos_token_id], [], []
    with (folder / FILE).open("wb") as file:
        for first in range(0, len(texts), AT_ONCE):
            some = texts[first : first + AT_ONCE]["text"]
            for ids in tokenizer(some, add_special_tokens=False, verbose=False)["input_ids"]:
                np.asarray(ids + end, dtype=np.int32).tofile(file)
                tokens.append(len(ids) + len(end))
            sizes += [len(text.encode()) for text in some]
            progress(len(tokens) / len(texts))
    return Tokenised(folder / FILE, np.array(tokens, np.int64), np.array(sizes, np.int64))
