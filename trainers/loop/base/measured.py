"""A loaded base model, measured on a sample of each language: its losses, warnings, or the one line that refuses it."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from sweep.study import InputError, Study
from sweep.study.ingredients import BaseLoss, BaseModelCheck
from sweep.study.numbers import percent
from trainers.loop.base import faults
from trainers.loop.base.faults import Patient
from trainers.loop.base.loss import Losses, Probe, Sample
from trainers.model.base import resizing
from trainers.model.chunked_loss import IGNORED
from trainers.model.loading import load_complete, load_tokenizer

NEW_SHARE = 0.001  # of a text in new rows, from which it is said


@dataclass
class Findings:
    """`bad`: the languages of which the base model's loss is that of a broken one."""

    losses: dict[str, BaseLoss] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    bad: list[tuple[Sample, Losses]] = field(default_factory=list)


def check(
    study: Study, looked: BaseModelCheck, path: str, samples: dict[str, Sample], device: torch.device
) -> BaseModelCheck:
    """What was found in the model's directory (`looked`), with losses and warnings.

    Raises InputError with one line where the base model is broken.
    """
    patient = _opened(study, path, device)
    samples = {part: sample.to(device) for part, sample in samples.items()}
    _refuse_encoder(patient, next(iter(samples.values())), path)
    found = Findings()
    for part, sample in samples.items():
        _measure(patient, part, sample, found)
    if found.bad:
        raise InputError(_refusal(patient, found.bad))
    del patient  # before the model that it was made from is loaded
    warnings = (*looked.warnings, *found.warnings)
    losses = found.losses | _before(study, path, samples, found.losses)
    return looked.model_copy(update={"losses": losses, "warnings": warnings, "unmeasured": None})


def _opened(study: Study, path: str, device: torch.device) -> Patient:
    tokenizer = load_tokenizer(study.base_model, path)
    precision = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = load_complete(study.base_model, path, precision).to(device).eval()
    probe = Probe(model, tokenizer.eos_token_id if study.training.document_masking else None)
    new = torch.tensor(resizing.resized(Path(path)).new, dtype=torch.long)
    return Patient(probe, tokenizer, torch.unique(torch.cat([new, faults.mean_rows(model)])))


def _refuse_encoder(patient: Patient, sample: Sample, path: str) -> None:
    if patient.probe.looks_ahead(sample.tokens):
        raise InputError(
            f"base_model.pretrained: {path} sees the tokens that it has to predict, as an encoder does: give a "
            f"decoder-only language model"
        )


def _measure(patient: Patient, part: str, sample: Sample, found: Findings) -> None:
    losses = patient.probe.losses(sample.tokens)
    loss = losses.mean()
    found.losses[part] = BaseLoss(loss=loss, bits_per_byte=sample.bits_per_byte(loss), tokens=losses.count())
    if faults.is_bad(patient, losses):
        found.bad.append((sample, losses))
        return
    advice = [faults.untrained_rows(patient, sample, losses), faults.missing_bos(patient, sample)]
    found.warnings += [f"{sample.name}: {line.partition(': train')[0]}" for line in advice if line]
    found.warnings += _new_tokens(patient, sample.name, losses)


def _new_tokens(patient: Patient, name: str, losses: Losses) -> list[str]:
    predicted = losses.targets[losses.targets != IGNORED]
    share = float(torch.isin(predicted, patient.new).float().mean()) if len(patient.new) else 0.0
    if share < NEW_SHARE:
        return []
    return [
        f"{name}: {percent(share, 1)} of its tokens have new rows, the mean of all: the base model predicts them by "
        f"chance, and its loss of them says nothing"
    ]


def _refusal(patient: Patient, bad: list[tuple[Sample, Losses]]) -> str:
    """One line for all such languages: they mostly have one cause."""
    stated = ", ".join(f"{sample.name} {losses.mean():.2f}" for sample, losses in bad)
    samples, found = zip(*bad, strict=True)
    together = replace(samples[0], tokens=torch.cat([sample.tokens for sample in samples]))
    losses = Losses(torch.cat([one.values for one in found]), torch.cat([one.targets for one in found]))
    return (
        f"base_model: it is broken as given: its loss in nats per token is {stated}, and {faults.limit(patient):.2f}, "
        f"ln(vocabulary), is that of a model that knows nothing: {faults.cause(patient, together, losses)}"
    )


def _before(study: Study, path: str, samples: dict[str, Sample], now: dict[str, BaseLoss]) -> dict[str, BaseLoss]:
    """The losses of a model with another tokenizer, with the bits per byte of the model that it was made from and its
    tokenizer on the same text.
    """
    source = resizing.resized(Path(path)).source
    if study.base_model.tokenizer is None or source is None or not Path(source).is_dir():
        return {}
    tokenizer = load_tokenizer(study.base_model, path)
    [device] = {sample.tokens.device for sample in samples.values()}
    old = _opened(study, source, device)
    return {
        part: now[part].model_copy(update={"bits_per_byte_before": _bits_per_byte(old, sample, tokenizer)})
        for part, sample in samples.items()
    }


def _bits_per_byte(old: Patient, sample: Sample, tokenizer: Any) -> float | None:
    """Of a sample's text, tokenised by the older model's own tokenizer; None for a text that is too short for that.

    Both models' bits are divided by the same bytes: those of the sample by the corpus' bytes per token.
    """
    texts = _texts(sample, tokenizer)
    packed = Sample.of_texts(sample.name, texts, old.tokenizer, sample.tokens.shape[1], most=sys.maxsize)
    if packed is None:
        return None
    counted = sample.tokens.numel() * sample.bytes_per_token
    share = counted / sum(len(text.encode()) for text in texts)
    same_bytes = replace(packed, bytes_per_token=packed.bytes_per_token * share).to(sample.tokens.device)
    return same_bytes.bits_per_byte(old.probe.losses(same_bytes.tokens).mean())


def _texts(sample: Sample, tokenizer: Any) -> list[str]:
    """The text of each piece of a document in the sample. A character that a block cuts is left out."""
    pieces: list[str] = []
    for block in sample.tokens.tolist():
        for is_end, run in itertools.groupby(block, lambda token: token == tokenizer.eos_token_id):
            pieces += [] if is_end else [tokenizer.decode(list(run)).strip("\ufffd")]
    return [piece for piece in pieces if piece]
