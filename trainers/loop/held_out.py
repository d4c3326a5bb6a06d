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
from trainers.model.fitting import reshard
from trainers.model.token_loss import TokenLoss
from trainers.workers.group import ALONE, WorkerGroup

EVALUATION_SEQUENCES = 16  # of one forward pass, on any device: evaluation stores no activations
EVALUATION_TOKENS = 65536  # of one forward pass, at most

Losses = dict[str, float]


@dataclass(frozen=True)
class HeldOut:
    """Held-out `tokens` (sequences, length) and bytes per token by language, the same for all trials and workers."""

    tokens: dict[str, torch.Tensor]
    bytes_per_token: dict[str, float]
    workers: WorkerGroup = ALONE

    @staticmethod
    def of(corpora: dict[str, PackedCorpus], training: Training, workers: WorkerGroup) -> HeldOut:
        limit = training.evaluation_tokens // training.sequence_length
        tokens = {name: torch.from_numpy(_spread(corpus, limit)).to(workers.device) for name, corpus in corpora.items()}
        bytes_per_token = {name: c.facts.held_out_bytes / c.facts.held_out_tokens for name, c in corpora.items()}
        return HeldOut(tokens, bytes_per_token, workers)

    def losses(self, loss: TokenLoss) -> Losses:
        """The loss of each language, in nats per token."""
        return {name: evaluate(loss, tokens, self.workers) for name, tokens in self.tokens.items()}

    def bits_per_byte(self, losses: Losses) -> Losses:
        """Nats per token over (ln 2 x bytes per token): comparable between tokenizers and languages.

        Bytes per token are those of all held-out documents, with their end-of-text tokens.
        """
        return {name: loss / math.log(2) / self.bytes_per_token[name] for name, loss in losses.items()}


def _spread(corpus: PackedCorpus, limit: int) -> Any:
    """At most `limit` held-out blocks, evenly spaced over the held-out documents."""
    total = len(corpus.held_out)
    rows = np.linspace(0, total - 1, min(total, max(1, limit))).round().astype(int)
    return blocks(corpus.held_out, rows.tolist())


@torch.no_grad()
def evaluate(loss: TokenLoss, tokens: torch.Tensor, workers: WorkerGroup = ALONE) -> float:
    """Mean loss in nats per predicted token over `tokens` (sequences, length), the same on all workers.

    Every worker is given all tokens and takes its share in the same number of forward passes, as FSDP2 requires.
    """
    own = tokens[workers.rank :: workers.size]
    most = -(-len(tokens) // workers.size)
    padded = torch.cat([own, tokens[: most - len(own)]])
    training = loss.model.training
    loss.model.eval()
    total, at = 0.0, min(EVALUATION_SEQUENCES, max(1, EVALUATION_TOKENS // tokens.shape[1]))
    for first in range(0, most, at):
        workers.heartbeat()
        total += loss.sum(padded[first : first + at], counted=max(0, len(own) - first)).item()
    loss.model.train(training)
    reshard(loss.model)
    total, predicted = workers.sum(total, loss.predicted(own))
    return total / predicted


def measured_once(key: dict[str, Any], measure: Callable[[], Losses], workers: WorkerGroup = ALONE) -> Losses:
    """Losses that many trials share (the base model's): the first trial measures them, the others read the cache."""
    folder = cache.root() / "base_losses" / fingerprint_of(key | {"torch": torch.__version__})
    cached: Losses | None = workers.broadcast(_read(folder) if workers.first else None)
    if cached is not None:
        return cached
    losses = measure()
    if workers.first:
        cache.build_once(folder, lambda unfinished: _write(unfinished, losses))
        losses = _read(folder) or losses  # another trial may have been faster
    shared: Losses = workers.broadcast(losses)
    return shared


def _read(folder: Path) -> Losses | None:
    try:
        losses: Losses = json.loads((folder / "losses.json").read_text())
    except FileNotFoundError:
        return None
    return losses


def _write(folder: Path, losses: Losses) -> None:
    (folder / "losses.json").write_text(json.dumps(losses))
