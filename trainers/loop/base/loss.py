"""The base model's loss on a small sample of held-out text, before the first trial, and what is wrong where it is bad.

A loss of ln(vocabulary) is that of a model that knows nothing. The causes are looked for by experiment: rows that stand
out are replaced by the mean row, and a BOS token is put in front; what makes the loss normal is what was wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from sweep.study.sizes.shape import LOGITS_BYTES
from trainers.data.conversations import rows
from trainers.data.corpus import PackedCorpus, blocks, held_out_blocks
from trainers.data.tokens.borders import Borders
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.loop.held_out import in_bits_per_byte
from trainers.model.base import vocabulary
from trainers.model.chunked_loss import IGNORED
from trainers.model.token_loss import positions

SAMPLE_TOKENS = 2048  # of each language
LOOKED_AT = 64  # tokens that show whether a model looks ahead
ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 2e-2}  # share of the logits' spread that it may change


@dataclass(frozen=True)
class Sample:
    """Held-out text of one language: `tokens` (blocks, length), and its bytes per token. `name`: the study's. Of
    conversations `targets` (blocks, length) are the tokens that count; None: all do.
    """

    name: str
    tokens: torch.Tensor
    bytes_per_token: float
    targets: torch.Tensor | None = None

    @staticmethod
    def of(name: str, corpus: PackedCorpus, most: int = SAMPLE_TOKENS) -> Sample:
        """Evenly spaced blocks, at most `most` tokens in all; a block longer than that is cut."""
        length = blocks(corpus.held_out, [0]).shape[1]
        found = torch.from_numpy(held_out_blocks(corpus, most // length)[:, :most])
        targets = found[..., rows.TARGET] > 0 if rows.are(found) else None
        return Sample(name, rows.ids(found), corpus.facts.held_out_bytes_per_token, targets)

    @staticmethod
    def of_texts(name: str, texts: list[str], tokenizer: TextTokenizer, length: int) -> Sample | None:
        """The beginning of some documents, packed into blocks; None where they do not fill one."""
        borders, ids = tokenizer.borders, tokenizer.tokens(texts) if texts else ()
        whole = ([*borders.before, *own, *borders.after] for own in ids)
        stream = np.concatenate([np.zeros(0, np.int64), *(np.asarray(one, np.int64) for one in whole)])
        length = min(length, SAMPLE_TOKENS)
        count = min(len(stream), SAMPLE_TOKENS) // length
        if length < 2 or not count:
            return None
        per_token = sum(len(text.encode()) for text in texts) / len(stream)
        return Sample(name, torch.from_numpy(stream[: count * length].reshape(count, length)), per_token)

    def to(self, device: torch.device) -> Sample:
        return replace(self, tokens=self.tokens.to(device))

    def of_targets(self, losses: Losses) -> Losses:
        """The losses of the tokens that count."""
        if self.targets is None:
            return losses
        return replace(losses, targets=losses.targets.where(self.targets[:, 1:], IGNORED))

    def bits_per_byte(self, loss: float) -> float:
        """From nats per token; comparable between tokenizers."""
        return in_bits_per_byte(loss, self.bytes_per_token)


@dataclass(frozen=True)
class Losses:
    """Each token's loss (nats) and the token itself, or IGNORED where none is predicted; (blocks, length - 1)."""

    values: torch.Tensor
    targets: torch.Tensor

    def mean(self, without: torch.Tensor | None = None) -> float:
        """Over all predicted tokens, or those that are not among the ids `without`. NaN where there are none."""
        predicted = self.targets != IGNORED
        if without is not None:
            predicted &= ~torch.isin(self.targets, without)
        return float(self.values[predicted].double().mean())

    def count(self) -> int:
        return int((self.targets != IGNORED).sum())


@dataclass(frozen=True)
class Probe:
    """A base model that is measured, in evaluation mode. `borders`: the tokens between documents; None: no masking."""

    model: Any
    borders: Borders | None

    @property
    def rows(self) -> int:
        return int(self.model.get_output_embeddings().weight.shape[0])

    @torch.no_grad()
    def losses(self, tokens: torch.Tensor, bos: int | None = None) -> Losses:
        """As a trial measures them. `bos`: a token in front of each block, without document masking; the targets are
        those of the blocks without it.
        """
        borders = None if bos is not None else self.borders
        targets = tokens[:, 1:].clone()
        if borders is not None:
            targets[borders.starts(tokens)] = IGNORED
        given = tokens[:, :-1] if bos is None else torch.cat([torch.full_like(tokens[:, :1], bos), tokens[:, :-1]], 1)
        values = []
        at_once = max(1, LOGITS_BYTES // (4 * self.rows * given.shape[1]))
        for part, wanted in zip(torch.split(given, at_once), torch.split(targets, at_once), strict=True):
            logits = self.logits(part, borders)[:, -wanted.shape[1] :].float()
            loss = cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="none")
            values.append(loss.view_as(wanted).cpu())
        return Losses(torch.cat(values), targets.cpu())

    @torch.no_grad()
    def logits(self, tokens: torch.Tensor, borders: Borders | None) -> torch.Tensor:
        more = {"position_ids": positions(tokens, borders)} if borders is not None else {}
        found: torch.Tensor = self.model(input_ids=tokens, use_cache=False, **more).logits
        return found

    def looks_ahead(self, tokens: torch.Tensor) -> bool:
        """Whether a later token changes the prediction of an earlier one, as in an encoder."""
        one = tokens[:1, :LOOKED_AT]
        half = max(1, one.shape[1] // 2)
        other = torch.cat([one[:, :half], (one[:, half:] + 1) % self.rows], 1)
        before, after = (self.logits(given, None)[:, :half].float() for given in (one, other))
        rounding = ROUNDING[torch.float32 if self.model.dtype == torch.float32 else torch.bfloat16]
        return bool((before - after).abs().max() > rounding * before.std())


@dataclass(frozen=True)
class Patient:
    """A base model with its tokenizer, and the tokens whose rows are known to be new: they are the mean row."""

    probe: Probe
    tokenizer: Any
    new: torch.Tensor

    @property
    def limit(self) -> float:
        """ln(vocabulary): the loss of a model that gives every token the same probability."""
        return math.log(self.probe.rows)

    def named(self, ids: torch.Tensor) -> str:
        return vocabulary.named([self.tokenizer.decode([number]) for number in ids.tolist()])
