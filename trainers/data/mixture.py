"""The mixture: which block of which corpus comes at each position of a run, from the ALMR; and its batches.

It is a pure function of the position, so that a run can resume at any step. All blocks have the same length: shares of
blocks are shares of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sweep.study import LANGUAGES
from trainers.data.corpus import PackedCorpus, blocks
from trainers.workers.group import ALONE, WorkerGroup


def additional_blocks(n: int, almr: float) -> int:
    """How many of the first n blocks are in the additional language: round(n x ALMR), for every n."""
    return round(n * almr)


@dataclass(frozen=True)
class Slot:
    """One block of a run: the language of its corpus, and its number there."""

    language: str
    block: int


@dataclass(frozen=True)
class Mixture:
    """The order of the blocks of one run. `sizes` are the numbers of training blocks of each corpus.

    The k-th block drawn from a corpus depends only on (seed, language, k), never on the ALMR: trials of one seed read
    the same documents in the same order, and do not differ by their text. A corpus that is used up starts again in a
    new order.
    """

    almr: float
    seed: int
    sizes: tuple[tuple[str, int], ...]

    def slot(self, position: int) -> Slot:
        """The block at `position` (0, 1, ...) of the run."""
        before = additional_blocks(position, self.almr)
        if additional_blocks(position + 1, self.almr) > before:
            return self._draw("additional", before)
        return self._draw("original", position - before)

    def batch(self, step: int, sequences: int) -> list[Slot]:
        """The global batch of `step` (from 0), `sequences` blocks long."""
        return [self.slot(position) for position in range(step * sequences, (step + 1) * sequences)]

    def epochs(self, drawn_blocks: int) -> dict[str, float]:
        """How many epochs of each corpus so many blocks are."""
        additional = additional_blocks(drawn_blocks, self.almr)
        drawn = {"original": drawn_blocks - additional, "additional": additional}
        return {language: drawn[language] / size for language, size in self.sizes}

    def _draw(self, language: str, k: int) -> Slot:
        epoch, index = divmod(k, dict(self.sizes)[language])
        order = _permutation(dict(self.sizes)[language], self.seed, LANGUAGES.index(language), epoch)
        return Slot(language, int(order[index]))


@lru_cache(maxsize=4)
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
            for language in LANGUAGES:
                at = [i for i, slot in enumerate(slots) if slot.language == language]
                read = blocks(self.corpora[language].training, [slots[i].block for i in at])
                for i, row in zip(at, read, strict=True):
                    drawn[i] = row
            yield torch.from_numpy(np.stack(drawn)).to(self.workers.device)
