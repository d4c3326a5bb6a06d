"""What is wrong with a base model whose loss is bad, in one line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from trainers.loop.base.loss import Losses, Probe, Sample, uniform
from trainers.model.base import vocabulary
from trainers.model.chunked_loss import IGNORED

APART = 3.0  # how many times longer or shorter than the median a row's norm is that stands out
OFTEN = 3  # how often a token occurs in the sample before its loss says anything
BOS_NATS = 0.5  # by which a loss falls with BOS in front, where the model needs it
NEAR_UNIFORM = 0.1  # nats around ln(vocabulary): as good as random weights
COPIES = 3  # rows that are alike
MEAN_SHARE = 0.05  # of the median distance to the mean row, within which a row is the mean


@dataclass(frozen=True)
class Patient:
    """A base model with its tokenizer, and the tokens whose rows are known to be new: they are the mean row."""

    probe: Probe
    tokenizer: Any
    new: torch.Tensor


def limit(patient: Patient) -> float:
    return uniform(patient.probe)


def learned_loss(patient: Patient, losses: Losses) -> float:
    """The loss on tokens that the model has learned; a new row's token is predicted with at most an average
    probability, so its loss is at least ln(vocabulary) by design.
    """
    return losses.mean(without=patient.new) if len(patient.new) else losses.mean()


def is_bad(patient: Patient, losses: Losses) -> bool:
    loss = learned_loss(patient, losses)
    known = not torch.isin(losses.targets[losses.targets != IGNORED], patient.new).all()
    return known and not loss < limit(patient)


def is_uniform(patient: Patient, losses: Losses) -> bool:
    """Whether the loss is that of random weights."""
    return abs(learned_loss(patient, losses) - limit(patient)) < NEAR_UNIFORM


Measured = tuple[Sample, Losses]


def cause(patient: Patient, every: Measured, bad: Measured) -> str:
    """Why the loss of the `bad` text is bad, and what to do. `every`: the bad text, and that of the other languages."""
    sample, losses = bad
    if not math.isfinite(losses.mean()):
        return (
            "the weights are finite, the model's output is not: its configuration does not suit its weights, or they "
            "overflow: download or save the model again"
        )
    return missing_bos(patient, sample) or untrained_rows(patient, *every) or _wrong_tokenizer(patient, losses)


def untrained_rows(patient: Patient, sample: Sample, losses: Losses) -> str | None:
    """Rows that stand out and are to blame: with the mean in their place the loss falls, or their tokens are predicted
    no better than by chance.
    """
    rows = suspects(patient, sample.tokens)
    if not len(rows):
        return None
    own = losses.values[torch.isin(losses.targets, rows)]
    by_chance = len(own) >= OFTEN and float(own.mean()) > max(limit(patient), losses.mean(without=rows))
    with _replaced(patient.probe.model, rows):
        falls = patient.probe.losses(sample.tokens).mean() < 0.98 * losses.mean()
    if not (falls or by_chance):
        return None
    count = "1 token" if len(rows) == 1 else f"{len(rows):,} tokens"
    return (
        f"the embedding rows of {count} in the text look untrained: {_named(patient, rows)}: train them first, or name "
        f"the model from before it got them, with base_model.tokenizer and base_model.{vocabulary.NEW_ROWS}"
    )


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


def missing_bos(patient: Patient, sample: Sample) -> str | None:
    """A model that needs a BOS token before its text, which packed documents do not have."""
    bos = patient.tokenizer.bos_token_id
    if bos is None or bool((sample.tokens == bos).any()) or bos >= patient.probe.rows:
        return None
    plain = Probe(patient.probe.model, None)
    without, with_bos = plain.losses(sample.tokens).mean(), plain.losses(sample.tokens, bos).mean()
    if without - with_bos < BOS_NATS:
        return None
    return (
        f"the model needs BOS before its text: with it the loss is {with_bos:.2f}, without it {without:.2f}: write "
        f"`documents: {{bos: true}}`"
    )


def _wrong_tokenizer(patient: Patient, losses: Losses) -> str:
    if is_uniform(patient, losses):
        return "the model knows nothing of this text, as with random weights: give a trained model, with its tokenizer"
    worst = _worst(patient, losses)
    return (
        f"most likely the tokenizer is not the one that the model was trained with, or the weights are damaged (least "
        f"expected: {worst}): give the model's own tokenizer, or another base model"
    )


def _worst(patient: Patient, losses: Losses) -> str:
    """The tokens that add most to the loss."""
    predicted = losses.targets != IGNORED
    ids, place = torch.unique(losses.targets[predicted], return_inverse=True)
    total = torch.zeros(len(ids)).index_add_(0, place.flatten(), losses.values[predicted].float())
    return _named(patient, ids[total.argsort(descending=True)[: vocabulary.MOST_NAMED]])


def _named(patient: Patient, ids: torch.Tensor) -> str:
    return vocabulary.named([patient.tokenizer.decode([number]) for number in ids.tolist()])
