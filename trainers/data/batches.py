"""Global batches of a run, read from its packed corpora."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sweep.study import LANGUAGES
from trainers.data.corpus import PackedCorpus, blocks
from trainers.data.mixture import Mixture
from trainers.workers.group import ALONE, WorkerGroup


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
