"""Embedding rows that look untrained, and what they do to a base model's loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from sweep.study.numbers import number, percent
from trainers.loop.base.loss import Losses, Patient, Sample
from trainers.model.base import vocabulary
from trainers.model.chunked_loss import IGNORED

APART = 3.0  # how many times longer or shorter than the median a row's norm is that stands out
COPIES = 3  # rows that are alike
MEAN_SHARE = 0.05  # of the median distance to the mean row, within which a row is the mean
LEAST_OF_TEXT = 0.001  # of the predicted tokens, from which untrained rows are warned of
LEAST_OF_LOSS = 0.02  # of the loss that they add, likewise
TRAIN_FIRST = (
    f"train them first, or name the model from before it got them, with base_model.tokenizer and "
    f"base_model.{vocabulary.NEW_ROWS}"
)


@dataclass(frozen=True)
class UntrainedRows:
    """`share` of the predicted tokens has such rows. Losses in nats per token: `loss` of all tokens, of which the rows
    add `added`; `repaired` with the mean row in their place, of the tokens that have been learned.
    """

    names: str
    count: str
    share: float
    loss: float
    added: float
    repaired: float

    @property
    def warning(self) -> str | None:
        """None where they are a negligible part of the text, or of its loss."""
        if self.share < LEAST_OF_TEXT or self.added < LEAST_OF_LOSS * self.loss:
            return None
        return (
            f"the embedding rows of {self.count} look untrained ({self.names}): they are {percent(self.share, 1)} of "
            f"the text and add {number(self.added, 2)} to its loss of {number(self.loss, 2)}: if they were added to "
            f"the tokenizer, {TRAIN_FIRST}; else leave out the text that has them"
        )


def untrained(
    patient: Patient, sample: Sample, losses: Losses, among: torch.Tensor | None = None
) -> UntrainedRows | None:
    """Those of the tokens in `among`, by default the sample's. None where no row stands out."""
    rows = suspects(patient, sample.tokens if among is None else among)
    if not len(rows):
        return None
    with _replaced(patient.probe.model, rows):
        replaced = patient.probe.losses(sample.tokens)
    return UntrainedRows(
        names=patient.named(rows),
        count="1 token" if len(rows) == 1 else f"{len(rows):,} tokens",
        share=float(torch.isin(losses.targets[losses.targets != IGNORED], rows).float().mean()),
        loss=losses.mean(),
        added=max(losses.mean() - replaced.mean(), _by_chance(patient, rows, losses)),
        repaired=replaced.mean(without=torch.cat([rows, patient.new])),
    )


def _by_chance(patient: Patient, rows: torch.Tensor, losses: Losses) -> float:
    """What tokens add to the loss that are predicted no better than by chance; 0 for others."""
    own = losses.values[torch.isin(losses.targets, rows)]
    if not len(own) or float(own.mean()) <= patient.limit:
        return 0.0
    return max(0.0, losses.mean() - losses.mean(without=rows))


def suspects(patient: Patient, tokens: torch.Tensor) -> torch.Tensor:
    """Ids in `tokens` whose row has an unusual length, is a copy of others, or was added to the tokenizer later."""
    model = patient.probe.model
    tables = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    odd = torch.zeros(len(tables[0]), dtype=torch.bool, device=tables[0].device)
    for table in tables if tables[0] is not tables[1] else tables[:1]:
        odd |= _stands_out(table.detach().float())
    special = set(patient.tokenizer.all_special_ids)
    added = [number for number in patient.tokenizer.get_added_vocab().values() if number < len(odd)]
    odd[added] = True
    known = [number for number in {*special, *patient.new.tolist()} if number < len(odd)]
    odd[known] = False
    here = torch.unique(tokens)
    stand_out: torch.Tensor = here[odd[here].to(here.device)].cpu()
    return stand_out


def _stands_out(table: torch.Tensor) -> torch.Tensor:
    """Rows of an unusual norm, and rows of which there are copies."""
    norms = table.norm(dim=1)
    middle = norms.median().clamp_min(1e-12)
    generator = torch.Generator().manual_seed(0)
    shadow = (table @ torch.randn(table.shape[1], generator=generator).to(table)) / middle
    _, group, sizes = torch.unique(shadow.round(decimals=5), return_inverse=True, return_counts=True)
    odd: torch.Tensor = (norms > APART * middle) | (norms < middle / APART) | (sizes[group] >= COPIES)
    return odd


def mean_rows(model: Any) -> torch.Tensor:
    """Ids whose row is the mean of the table, as `new_rows: mean` and other tools initialise new tokens."""
    table = model.get_input_embeddings().weight.detach().float()
    distance = (table - table.mean(dim=0)).norm(dim=1)
    near: torch.Tensor = distance < MEAN_SHARE * distance.median()
    return near.nonzero().flatten().cpu()


@contextmanager
def _replaced(model: Any, rows: torch.Tensor) -> Iterator[None]:
    """The model with the mean row in place of some, while the block runs."""
    read, written = model.get_input_embeddings().weight.data, model.get_output_embeddings().weight.data
    tables = [read] if read.data_ptr() == written.data_ptr() else [read, written]
    before = [table[rows].clone() for table in tables]
    try:
        for table in tables:
            others = torch.ones(len(table), dtype=torch.bool, device=table.device)
            others[rows] = False
            table[rows] = table[others].float().mean(dim=0).to(table.dtype)
        yield
    finally:
        for table, own in zip(tables, before, strict=True):
            table[rows] = own
