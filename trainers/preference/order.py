"""The order of the pairs of a trial: languages mixed by tokens, as exactly as whole pairs allow.

Each position takes the language that brings the additional language's share of the tokens so far nearest to the ALMR.
So of every prefix it is right to within half of a pair. Within a language each source is drawn the same way by its
share. The k-th pair of a source depends only on (seed, name of the source, k), and the source of a language's k-th pair
only on seed and shares: neither depends on the ALMR, so that trials of one seed read the same pairs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweep.study import LANGUAGES, CorpusSource
from trainers.data.mixture import Slot, drawn_slot

Sizes = Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Drawn:
    """A pair of a trial: its source, its number there, its language, and the tokens of both of its rows."""

    slot: Slot
    language: str
    tokens: int


@dataclass(frozen=True)
class PairOrder:
    """`sizes`: by source, the tokens of each of its training pairs."""

    almr: float
    seed: int
    sources: Sequence[CorpusSource]
    sizes: Sizes

    def first(self, pairs: int) -> list[Drawn]:
        """The first pairs of the trial, in order."""
        return list(itertools.islice(self._mixed(), pairs))

    def _mixed(self) -> Iterator[Drawn]:
        original, additional = (self._of_language(language) for language in LANGUAGES)
        ahead = [next(original), next(additional)]
        behind = 0.0  # tokens of the additional language that are still owed
        while True:
            after = (behind + self.almr * ahead[0].tokens, behind - (1 - self.almr) * ahead[1].tokens)
            add = abs(after[1]) < abs(after[0]) or (abs(after[1]) == abs(after[0]) and self.almr > 0.5)
            behind = after[add]
            yield ahead[add]
            ahead[add] = next(additional if add else original)

    def _of_language(self, language: str) -> Iterator[Drawn]:
        """The pairs of a language: of its sources, the one that is furthest behind its share of the tokens."""
        own = sorted((one for one in self.sources if one.language == language), key=lambda one: one.name)
        counts, tokens = [0] * len(own), [0] * len(own)
        while True:
            total = sum(tokens)
            at = max(range(len(own)), key=lambda n: (own[n].share * total - tokens[n], -n))
            slot = drawn_slot(own[at].name, len(self.sizes[own[at].name]), self.seed, counts[at])
            size = int(self.sizes[slot.source][slot.block])
            counts[at], tokens[at] = counts[at] + 1, tokens[at] + size
            yield Drawn(slot, language, size)


def share_of_additional(drawn: Sequence[Drawn]) -> float:
    """The additional language's share of the tokens of these pairs."""
    additional = sum(one.tokens for one in drawn if one.language == "additional")
    return additional / sum(one.tokens for one in drawn)


def epochs(drawn: Sequence[Drawn], sizes: Sizes) -> dict[str, float]:
    """How often these pairs are each source's pairs; of a language that of its source that is read most often."""
    of_source = {name: sum(one.slot.source == name for one in drawn) / len(sizes[name]) for name in sizes}
    languages = {one.slot.source: one.language for one in drawn}
    most = {
        language: max((of_source[name] for name, of in languages.items() if of == language), default=0.0)
        for language in LANGUAGES
    }
    return most | of_source
