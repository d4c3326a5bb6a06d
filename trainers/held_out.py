"""The held-out text of both languages, and a model's loss on it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sweep.recipe import Training
from sweep.study import fingerprint_of
from trainers import cache, loop
from trainers.corpus import PackedCorpus, blocks

Losses = dict[str, float]


@dataclass(frozen=True)
class HeldOut:
    """`tokens` (sequences, length) and bytes per token of each language; the same for every trial of a study."""

    tokens: dict[str, torch.Tensor]
    bytes_per_token: dict[str, float]
    precision: str

    @staticmethod
    def of(corpora: dict[str, PackedCorpus], training: Training, device: torch.device) -> HeldOut:
        limit = training.evaluation_tokens // training.sequence_length
        tokens = {name: torch.from_numpy(_spread(corpus, limit)).to(device) for name, corpus in corpora.items()}
        bytes_per_token = {name: c.facts.held_out_bytes / c.facts.held_out_tokens for name, c in corpora.items()}
        return HeldOut(tokens, bytes_per_token, training.precision)

    def losses(self, model: Any) -> Losses:
        """Nats per token, per language."""
        return {name: loop.evaluate(model, tokens, self.precision) for name, tokens in self.tokens.items()}

    def bits_per_byte(self, losses: Losses) -> Losses:
        """Nats per token over (ln 2 x bytes per token): comparable between tokenizers and languages.

        Bytes per token are those of all held-out documents, their end marks counted as tokens.
        """
        return {name: loss / math.log(2) / self.bytes_per_token[name] for name, loss in losses.items()}


def _spread(corpus: PackedCorpus, limit: int) -> Any:
    """At most `limit` held-out blocks, evenly spaced, so that every held-out document has its part."""
    total = len(corpus.held_out)
    rows = np.linspace(0, total - 1, min(total, max(1, limit))).round().astype(int)
    return blocks(corpus.held_out, rows.tolist())


def measured_once(key: dict[str, Any], measure: Callable[[], Losses]) -> Losses:
    """Losses that many trials need (the base model's), measured by the first and read from the cache by the others."""
    key = key | {"torch": torch.__version__}

    def build(folder: Path) -> None:
        (folder / "losses.json").write_text(json.dumps(measure()))

    folder = cache.build_once(cache.root() / "base_losses" / fingerprint_of(key), build)
    losses: Losses = json.loads((folder / "losses.json").read_text())
    return losses
