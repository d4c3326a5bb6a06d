"""What is wrong with a base model whose loss is bad, in one line."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from trainers.loop.base import rows
from trainers.loop.base.loss import Losses, Patient, Probe, Sample
from trainers.model.base import vocabulary
from trainers.model.chunked_loss import IGNORED

BOS_NATS = 0.5  # by which a loss falls with BOS in front, where the model needs it
NEAR_UNIFORM = 0.1  # nats around ln(vocabulary): as good as random weights


def learned_loss(patient: Patient, losses: Losses) -> float:
    """The loss on tokens that the model has learned; a new row's token is predicted with at most an average
    probability, so its loss is at least ln(vocabulary) by design.
    """
    return losses.mean(without=patient.new) if len(patient.new) else losses.mean()


def is_bad(patient: Patient, losses: Losses) -> bool:
    loss = learned_loss(patient, losses)
    known = not torch.isin(losses.targets[losses.targets != IGNORED], patient.new).all()
    return known and not loss < patient.limit


def is_uniform(patient: Patient, losses: Losses) -> bool:
    """Whether the loss is that of random weights."""
    return abs(learned_loss(patient, losses) - patient.limit) < NEAR_UNIFORM


class Repair(NamedTuple):
    """A likely cause with its fix, what was tried, and the loss of the learned tokens after it."""

    cause: str
    tried: str
    loss: float


def cause(patient: Patient, sample: Sample, losses: Losses, every: torch.Tensor) -> str:
    """Why the loss of a text is bad, and what to do. `every`: the tokens of the good texts too.

    A cause is named where its repair brings the loss clearly below ln(vocabulary). Of others it is said what the loss
    is after their repair.
    """
    if not math.isfinite(losses.mean()):
        return (
            "the weights are finite, the model's output is not: its configuration does not suit its weights, or they "
            "overflow: download or save the model again"
        )
    tried = [repair for repair in (_bos(patient, sample), _rows(patient, sample, losses, every)) if repair]
    if works := next((repair for repair in tried if repair.loss < patient.limit - NEAR_UNIFORM), None):
        return works.cause
    still = ", ".join(f"{repair.loss:.2f} {repair.tried}" for repair in tried)
    return _wrong_tokenizer(patient, losses) + (f" (the loss is still {still})" if tried else "")


def _rows(patient: Patient, sample: Sample, losses: Losses, every: torch.Tensor) -> Repair | None:
    found = rows.untrained(patient, sample, losses, every)
    if not found:
        return None
    text = f"the embedding rows of {found.count} in the text look untrained: {found.names}: {rows.TRAIN_FIRST}"
    return Repair(text, f"with the mean row for {found.names}, whose rows look untrained", found.repaired)


def missing_bos(patient: Patient, sample: Sample) -> str | None:
    """A model that needs a BOS token before its text, which packed documents do not have."""
    found = _bos(patient, sample)
    return found.cause if found else None


def _bos(patient: Patient, sample: Sample) -> Repair | None:
    bos = patient.tokenizer.bos_token_id
    if bos is None or bool((sample.tokens == bos).any()) or bos >= patient.probe.rows:
        return None
    plain = Probe(patient.probe.model, None)
    without, with_bos = plain.losses(sample.tokens).mean(), plain.losses(sample.tokens, bos).mean()
    if without - with_bos < BOS_NATS:
        return None
    text = (
        f"the model needs BOS before its text: with it the loss is {with_bos:.2f}, without it {without:.2f}: write "
        f"`documents: {{bos: true}}`"
    )
    return Repair(text, "with BOS in front", with_bos)


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
    return patient.named(ids[total.argsort(descending=True)[: vocabulary.MOST_NAMED]])
