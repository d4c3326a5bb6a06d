"""The mixture: which block of which source comes at each position of a run, from the ALMR; and its batches.

It is a pure function of the position, so that a run can resume at any step. All blocks have the same length: shares of
blocks are shares of tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sweep.study import LANGUAGES, CorpusSource
from sweep.study.sections.text.corpora import Corpora
from trainers.data.corpus import PackedCorpus, blocks
from trainers.data.source_order import SourceOrder, order_of
from trainers.workers.group import ALONE, WorkerGroup


def additional_blocks(n: int, almr: float) -> int:
    """How many of the first n blocks are in the additional language: round(n x ALMR), for every n."""
    return round(n * almr)


@dataclass(frozen=True)
class Slot:
    """One block of a run: its source, and its number there."""

    source: str
    block: int


@dataclass(frozen=True)
class Mixture:
    """The order of the blocks of one run. `sizes` are the numbers of training blocks of each source, by name.

    The k-th block drawn from a source depends only on (seed, name of the source, k), and the source of a language's
    k-th block only on the shares of its sources: neither on the ALMR. Trials of one seed read the same documents in the
    same order, and do not differ by their text. A source that is used up starts again in a new order.

    Of the first n blocks a language has its exact share, rounded (`additional_blocks`); of a language's first n blocks
    each source has its share to within one block (`SourceOrder`). So of a run's first n blocks a source has the product
    of both to within 1.5 blocks.
    """

    almr: float
    seed: int
    sources: tuple[CorpusSource, ...]
    sizes: dict[str, int]

    @staticmethod
    def of(almr: float, seed: int, corpora: Corpora, packed: Mapping[str, PackedCorpus]) -> Mixture:
        sizes = {name: corpus.facts.blocks for name, corpus in packed.items()}
        return Mixture(almr, seed, tuple(corpora.by_name.values()), sizes)

    def slot(self, position: int) -> Slot:
        """The block at `position` (0, 1, ...) of the run."""
        before = additional_blocks(position, self.almr)
        if additional_blocks(position + 1, self.almr) > before:
            return self._of_language("additional", before)
        return self._of_language("original", position - before)

    def batch(self, step: int, sequences: int) -> list[Slot]:
        """The global batch of `step` (from 0), `sequences` blocks long."""
        return [self.slot(position) for position in range(step * sequences, (step + 1) * sequences)]

    def drawn(self, blocks: int) -> dict[str, int]:
        """How many of the run's first blocks each source gives."""
        additional = additional_blocks(blocks, self.almr)
        found: dict[str, int] = {}
        for language, count in (("original", blocks - additional), ("additional", additional)):
            names, order = self._orders[language]
            found |= dict(zip(names, order.drawn(count), strict=True))
        return found

    def epochs(self, drawn_blocks: int) -> dict[str, float]:
        """How many epochs of each source so many blocks are."""
        return {name: count / self.sizes[name] for name, count in self.drawn(drawn_blocks).items()}

    @cached_property
    def _orders(self) -> dict[str, tuple[list[str], SourceOrder]]:
        """Each language's sources and their order, which does not depend on how the study lists them."""
        found = {}
        for language in LANGUAGES:
            sources = sorted((s for s in self.sources if s.language == language), key=lambda source: source.name)
            order = order_of(tuple(source.fraction for source in sources))
            found[language] = ([source.name for source in sources], order)
        return found

    def _of_language(self, language: str, k: int) -> Slot:
        """The k-th block of a language."""
        names, order = self._orders[language]
        source, block = order.at(k)
        return drawn_slot(names[source], self.sizes[names[source]], self.seed, block)


def drawn_slot(name: str, size: int, seed: int, k: int) -> Slot:
    """The k-th block that is drawn from a source of `size` blocks: one that is used up starts again in a new order."""
    epoch, index = divmod(k, size)
    order = _permutation(size, seed, _key(name), epoch)
    return Slot(name, int(order[index]))


def _key(name: str) -> int:
    """A number for the random order of a source: by its name, so that sources beside it do not change it."""
    return LANGUAGES.index(name) if name in LANGUAGES else int(hashlib.sha256(name.encode()).hexdigest()[:16], 16)


@lru_cache(maxsize=64)  # of each source the epoch that is read: 8 bytes a block
def _permutation(size: int, *key: int) -> NDArray[np.int64]:
    return np.random.default_rng(key).permutation(size)


@dataclass(frozen=True)
class BatchReader:
    """Reads this worker's rows of the global batches, each of `sequences` blocks that a mixture draws from corpora."""

    corpora: dict[str, PackedCorpus]
    mixture: Mixture
    sequences: int
    workers: WorkerGroup = ALONE

    def read(self, steps: range) -> Iterator[torch.Tensor]:
        """The batches of some steps (from 0), each of token ids (rows, length) on the worker's device."""
        rows = self.workers.rows(self.sequences)
        for step in steps:
            slots = self.mixture.batch(step, self.sequences)[rows]
            drawn: list[Any] = [None] * len(slots)
            for name in dict.fromkeys(slot.source for slot in slots):
                at = [i for i, slot in enumerate(slots) if slot.source == name]
                read = blocks(self.corpora[name].training, [slots[i].block for i in at])
                for i, row in zip(at, read, strict=True):
                    drawn[i] = row
            yield torch.from_numpy(np.stack(drawn)).to(self.workers.device)
