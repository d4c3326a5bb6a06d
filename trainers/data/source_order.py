"""The order in which the sources of a language come: exact shares at every prefix, the same in every trial."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np


class SourceOrder:
    """Which source each block of a language comes from, by the shares of its sources.

    After n blocks of the language, a source with share s has given more than n x s - 1 and fewer than n x s + 1 of
    them, for every n. So its k-th block (from 0) has to come at a position from floor(k / s) to ceil((k + 1) / s) - 1.
    Each position takes the source whose next block may come and has the nearest deadline, which keeps all of them: the
    earliest deadline is optimal for jobs of unit length, and shares add up to 1 (Baruah et al., Algorithmica 15, 1996,
    "Proportionate progress"). The order repeats after as many blocks as the shares' common denominator.
    """

    def __init__(self, shares: Sequence[Fraction]) -> None:
        assert sum(shares) == 1
        self.period = math.lcm(*(share.denominator for share in shares))
        self.each = [int(share * self.period) for share in shares]  # blocks of a period
        self.counts = [0] * len(shares)
        self.sources = array("I")
        self.blocks = array("Q")

    def at(self, position: int) -> tuple[int, int]:
        """The number of the source at a position (0, 1, ...) of the language, and of its block, both from 0."""
        periods, rest = divmod(position, self.period)
        self._extend(rest + 1)
        source = self.sources[rest]
        return source, periods * self.each[source] + self.blocks[rest]

    def drawn(self, blocks: int) -> list[int]:
        """How many of the language's first blocks each source gives."""
        periods, rest = divmod(blocks, self.period)
        self._extend(rest)
        more = np.bincount(np.asarray(self.sources[:rest], dtype=np.int64), minlength=len(self.each))
        return [periods * each + int(count) for each, count in zip(self.each, more, strict=True)]

    def _extend(self, length: int) -> None:
        while len(self.sources) < length:
            source = self._next(len(self.sources))
            self.sources.append(source)
            self.blocks.append(self.counts[source])
            self.counts[source] += 1

    def _next(self, position: int) -> int:
        deadlines = [
            (-(-(count + 1) * self.period // each), source)
            for source, (count, each) in enumerate(zip(self.counts, self.each, strict=True))
            if count * self.period // each <= position
        ]
        return min(deadlines)[1]


@lru_cache(maxsize=8)
def order_of(shares: tuple[Fraction, ...]) -> SourceOrder:
    """One for all trials of a process: it grows as far as it is asked."""
    return SourceOrder(shares)
