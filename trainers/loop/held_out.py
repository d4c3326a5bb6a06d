"""The held-out text of every source, and a model's loss on it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sweep.study import LANGUAGES, CorpusSource, PerLanguage, SourceResult, Study
from sweep.study.files import cache
from sweep.study.numbers import json_text
from sweep.study.sizes.step import evaluation_sequences
from sweep.study.study import fingerprint_of
from trainers.data.corpus import PackedCorpus, held_out_blocks
from trainers.loop.out_of_memory import MicroBatch, free_memory
from trainers.model.fitting import reshard
from trainers.model.token_loss import TokenLoss
from trainers.workers.group import ALONE, WorkerGroup

Losses = dict[str, float]  # by language, and by source where the study names sources


@dataclass(frozen=True)
class HeldOut:
    """Held-out `tokens` (sequences, length), or rows of conversations, and bytes per predicted token, by source: the
    same for all trials and workers.

    `own`: this worker's sequences of a global batch, of which it takes a `micro_batch` at once. `sources`: those of the
    study; a language's loss is the mean of its sources' losses, weighted by their shares of its tokens.
    """

    tokens: dict[str, torch.Tensor]
    bytes_per_token: dict[str, float]
    own: int
    workers: WorkerGroup = ALONE
    micro_batch: MicroBatch = field(default_factory=MicroBatch)
    sources: tuple[CorpusSource, ...] = ()

    @staticmethod
    def of(corpora: dict[str, PackedCorpus], study: Study, workers: WorkerGroup, micro_batch: MicroBatch) -> HeldOut:
        training = study.training
        limit = training.evaluation_tokens // training.sequence_length
        tokens = {name: torch.from_numpy(held_out_blocks(c, limit)).to(workers.device) for name, c in corpora.items()}
        bytes_per_token = {name: corpus.facts.held_out_bytes_per_token for name, corpus in corpora.items()}
        own, sources = training.batch_sequences // workers.size, tuple(study.corpora.by_name.values())
        return HeldOut(tokens, bytes_per_token, own, workers, micro_batch, sources)

    def losses(self, loss: TokenLoss) -> Losses:
        """The loss of each language, and of each source with a name of its own, in nats per token. Out of memory halves
        the micro-batch, as in training.
        """
        return self._with_languages({name: self._loss(loss, tokens) for name, tokens in self.tokens.items()})

    def _with_languages(self, values: dict[str, float]) -> dict[str, float]:
        """Values of sources, and before them each language's mean; the same where each language is its only source."""
        if values.keys() <= {*LANGUAGES}:
            return values
        parts: dict[str, list[float]] = {language: [] for language in LANGUAGES}
        for source in self.sources:
            parts[source.language].append(source.share * values[source.name])
        return {language: math.fsum(of) for language, of in parts.items()} | values

    def _loss(self, loss: TokenLoss, tokens: torch.Tensor) -> float:
        while True:
            at_once = min(self.at_once(loss), -(-len(tokens) // self.workers.size))  # the worker's share
            try:
                return evaluate(loss, tokens, at_once, self.workers)
            except torch.OutOfMemoryError:
                pass
            # Outside of the handler: the exception holds the tensors of the failed pass.
            self.micro_batch.halve(at_once, self.own, self.workers.sharded)
            free_memory()

    def at_once(self, loss: TokenLoss) -> int:
        """Sequences of one forward pass: a micro-batch. On a CPU a model that is not sharded takes more where their
        logits are small, unless memory has run out.
        """
        [length] = {tokens.shape[1] for tokens in self.tokens.values()}
        exactly = self.workers.device.type != "cpu" or self.workers.sharded or self.micro_batch.ran_out
        words = None if exactly else loss.model.config.vocab_size
        return evaluation_sequences(self.micro_batch.of(self.own), length, words)

    def bits_per_byte(self, losses: Losses) -> Losses:
        """Of nats per token: comparable between tokenizers and languages.

        Bytes per token are those of all held-out documents, with their end-of-text tokens; of a language those of its
        sources, mixed by their shares of its tokens.
        """
        bytes_per_token = self._with_languages(self.bytes_per_token)
        return {name: in_bits_per_byte(loss, bytes_per_token[name]) for name, loss in losses.items()}

    def source_results(self, **values: Mapping[str, float | None]) -> dict[str, SourceResult]:
        """Results by source, for a record: empty where each language is its only source. `values`: fields of a
        `SourceResult`, each by source.
        """
        if self.tokens.keys() <= {*LANGUAGES}:
            return {}
        return {
            one.name: SourceResult(
                language=one.language,
                weight=one.share,
                **{field: of_source[one.name] for field, of_source in values.items()},
            )
            for one in self.sources
        }


def in_bits_per_byte(loss: float, bytes_per_token: float) -> float:
    """A loss in nats per token, over (ln 2 x bytes per token)."""
    return loss / math.log(2) / bytes_per_token


def per_language(values: Mapping[str, float | None]) -> PerLanguage:
    """The languages' part of values by language and source."""
    return PerLanguage(**{language: values[language] for language in LANGUAGES})


@torch.no_grad()
def evaluate(loss: TokenLoss, tokens: torch.Tensor, at_once: int, workers: WorkerGroup = ALONE) -> float:
    """Mean loss in nats per predicted token over `tokens` (sequences, length), the same on all workers. A forward pass
    takes `at_once` sequences.

    Every worker is given all tokens and takes its share in the same number of forward passes, as FSDP2 requires.
    """
    own = tokens[workers.rank :: workers.size]
    most = -(-len(tokens) // workers.size)
    padded = torch.cat([own, tokens[: most - len(own)]])
    training = loss.model.training
    loss.model.eval()
    total = 0.0
    try:
        for first in range(0, most, at_once):
            workers.heartbeat()
            total += loss.sum(padded[first : first + at_once], counted=max(0, len(own) - first)).item()
    finally:
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
    (folder / "losses.json").write_text(json_text(losses))
