"""Tokenises documents as text: the strings of the tokenizer's special tokens in them have no special meaning."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.study.files.atomic import sha256
from sweep.study.study import fingerprint_of
from trainers.data.tokens.borders import Borders

NEVER = re.compile("(?!)")


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer of transformers, and the special tokens that it puts between documents."""

    tokenizer: Any
    borders: Borders

    def tokens(self, texts: list[str]) -> Iterator[NDArray[np.int32]]:
        """The token ids of each text, without borders.

        Some tokenizers (Unigram models, and those with code of their own) read special strings whatever they are asked:
        a text in which a border appears is then cut inside of these strings, and tokenised piece by piece.
        """
        for text, ids in zip(texts, self._tokenised(texts), strict=True):
            found = np.asarray(ids, np.int32)
            if self.inside(found) and self.special.search(text):
                pieces = self._tokenised(self._cut(text))
                found = np.concatenate([np.asarray(piece, np.int32) for piece in pieces])
            yield found

    def inside(self, ids: NDArray[np.int32]) -> bool:
        """Whether a border is among the tokens of a text."""
        return bool(np.isin(ids, self.borders.ids).any())

    @cached_property
    def special(self) -> re.Pattern[str]:
        """Matches the strings of the special tokens."""
        added = getattr(self.tokenizer, "added_tokens_decoder", {}).values()
        names = {token.content for token in added if token.special} | {*self.tokenizer.all_special_tokens}
        longest_first = sorted(filter(None, names), key=lambda name: (-len(name), name))
        return re.compile("|".join(map(re.escape, longest_first))) if longest_first else NEVER

    @property
    def key(self) -> dict[str, Any]:
        """Identifies the tokenizer and the borders, as a part of the key of what was tokenised."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        content = [backend.to_str() if backend else _vocabulary(self.tokenizer), self.tokenizer.eos_token_id]
        key: dict[str, Any] = {"tokenizer": fingerprint_of(content)}
        key |= {"bos": self.borders.before} if self.borders.before else {}
        return key if self.borders.after else key | {"eos": False}

    def _tokenised(self, texts: list[str]) -> list[list[int]]:
        options = {"add_special_tokens": False, "verbose": False}
        found: list[list[int]] = self.tokenizer(texts, **options, **self._as_text)["input_ids"]
        return found

    @cached_property
    def _as_text(self) -> dict[str, bool]:
        try:
            self.tokenizer("a", split_special_tokens=True)
        except (TypeError, ValueError):  # it knows no such option
            return {}
        return {"split_special_tokens": True}

    def _cut(self, text: str) -> list[str]:
        """The text in pieces, cut after the first character of each special string."""
        ends = [0, *(found.start() + 1 for found in self.special.finditer(text)), len(text)]
        return [text[first:last] for first, last in pairwise(ends) if first < last]


def _vocabulary(tokenizer: Any) -> list[Any]:
    """What decides the tokens of a tokenizer that is written in Python: its class, tokens and files (merges, ...)."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            tokenizer.save_vocabulary(folder)
        except Exception:  # it has no files, or code of its own
            return [type(tokenizer).__name__, tokenizer.get_vocab()]
        files = sorted(Path(folder).iterdir())
        return [type(tokenizer).__name__, tokenizer.get_vocab(), *map(sha256, files)]
