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

from sweep.study.files import cache
from sweep.study.sections.training import Training
from sweep.study.study import fingerprint_of
from trainers.data.corpus import PackedCorpus, blocks
from trainers.loop import loop
from trainers.model.token_loss import TokenLoss
from trainers.workers.group import ALONE, WorkerGroup

Losses = dict[str, float]


@dataclass(frozen=True)
class HeldOut:
    """`tokens` (sequences, length) and bytes per token of each language; the same for every trial of a study.

    Every worker of a gang holds all of them. `beat` is called on the way.
    """

    tokens: dict[str, torch.Tensor]
    bytes_per_token: dict[str, float]
    gang: WorkerGroup = ALONE
    beat: Callable[[], None] = lambda: None

    @staticmethod
    def of(
        corpora: dict[str, PackedCorpus], training: Training, gang: WorkerGroup, beat: Callable[[], None] = lambda: None
    ) -> HeldOut:
        limit = training.evaluation_tokens // training.sequence_length
        tokens = {name: torch.from_numpy(_spread(corpus, limit)).to(gang.device) for name, corpus in corpora.items()}
        bytes_per_token = {name: c.facts.held_out_bytes / c.facts.held_out_tokens for name, c in corpora.items()}
        return HeldOut(tokens, bytes_per_token, gang, beat)

    def losses(self, loss: TokenLoss) -> Losses:
        """Nats per token, per language."""
        return {name: loop.evaluate(loss, tokens, self.gang, self.beat) for name, tokens in self.tokens.items()}

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


def measured_once(key: dict[str, Any], measure: Callable[[], Losses], gang: WorkerGroup = ALONE) -> Losses:
    """Losses that many trials need (the base model's), measured by the first and read from the cache by the others."""
    folder = cache.root() / "base_losses" / fingerprint_of(key | {"torch": torch.__version__})
    kept: Losses | None = gang.told(_read(folder) if gang.first else None)
    if kept is not None:
        return kept
    losses = measure()
    if gang.first:
        cache.build_once(folder, lambda unfinished: _write(unfinished, losses))
        losses = _read(folder) or losses  # whose measurement was kept first
    told: Losses = gang.told(losses)
    return told


def _read(folder: Path) -> Losses | None:
    try:
        losses: Losses = json.loads((folder / "losses.json").read_text())
    except FileNotFoundError:
        return None
    return losses


def _write(folder: Path, losses: Losses) -> None:
    (folder / "losses.json").write_text(json.dumps(losses))
