"""A loaded base model, measured on a sample of each language: its losses, warnings, or the one line that refuses it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from sweep.study import InputError, Study
from sweep.study.ingredients import BaseLoss, BaseModelCheck
from sweep.study.numbers import percent
from trainers.data.tokens.borders import Borders
from trainers.loop.base import faults, rows
from trainers.loop.base.loss import Losses, Patient, Probe, Sample
from trainers.model.base import resizing
from trainers.model.chunked_loss import IGNORED
from trainers.model.loading import load_complete, load_tokenizer

NEW_SHARE = 0.001  # of a text in new rows, from which it is said
LONGEST = 512  # tokens of a text that is read by itself


@dataclass
class Findings:
    """`bad`: those of `all` languages of which the base model's loss is that of a broken one."""

    losses: dict[str, BaseLoss] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    all: list[tuple[Sample, Losses]] = field(default_factory=list)
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
    if not found.bad and all(faults.is_uniform(patient, losses) for _, losses in found.all):
        found.bad = found.all  # by chance a little better than chance
    if found.bad:
        raise InputError(_refusal(patient, found))
    warnings, losses = (*looked.warnings, *found.warnings), found.losses
    source, borders = resizing.resized(Path(path)).source, Borders.of(patient.tokenizer, study.documents)
    if study.base_model.tokenizer and source and Path(source).is_dir():
        texts = {part: _texts(sample, patient.tokenizer, borders) for part, sample in samples.items()}
        now = {part: _bits_per_byte(patient, some) for part, some in texts.items()}
        del patient  # before the model that it was made from is loaded
        before = _opened(study, source, device)
        losses = {
            part: loss.model_copy(
                update={"bits_per_byte_before": loss.bits_per_byte * _bits_per_byte(before, texts[part]) / now[part]}
            )
            for part, loss in losses.items()
        }
    return looked.model_copy(update={"losses": losses, "warnings": warnings, "unmeasured": None})


def _opened(study: Study, path: str, device: torch.device) -> Patient:
    tokenizer = load_tokenizer(study.base_model, path)
    precision = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = load_complete(study.base_model, path, precision).to(device).eval()
    masked = study.training.document_masking and study.training.stage == "cpt"
    probe = Probe(model, Borders.of(tokenizer, study.documents) if masked else None)
    new = torch.tensor(resizing.resized(Path(path)).new, dtype=torch.long)
    return Patient(probe, tokenizer, torch.unique(torch.cat([new, rows.mean_rows(model)])))


def _refuse_encoder(patient: Patient, sample: Sample, path: str) -> None:
    if patient.probe.looks_ahead(sample.tokens):
        raise InputError(
            f"base_model.pretrained: {path} sees the tokens that it has to predict, as an encoder does: give a "
            f"decoder-only language model"
        )


def _measure(patient: Patient, part: str, sample: Sample, found: Findings) -> None:
    losses = sample.of_targets(patient.probe.losses(sample.tokens))
    loss = losses.mean()
    found.losses[part] = BaseLoss(loss=loss, bits_per_byte=sample.bits_per_byte(loss), tokens=losses.count())
    found.all.append((sample, losses))
    if faults.is_bad(patient, losses):
        found.bad.append((sample, losses))
        return
    untrained = rows.untrained(patient, sample, losses)
    advice = [untrained.warning if untrained else None, faults.missing_bos(patient, sample)]
    found.warnings += [f"{sample.name}: {line}" for line in advice if line]
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


def _refusal(patient: Patient, found: Findings) -> str:
    """One line for all bad languages: they mostly have one cause."""
    cause = faults.cause(patient, *_together(found.bad), _together(found.all)[0].tokens)
    stated = ", ".join(f"{losses.mean():.2f} of {sample.name}" for sample, losses in found.bad)
    return (
        f"base_model: broken as given: loss {stated} nats per token, where a model that knows nothing has "
        f"{patient.limit:.2f} = ln(vocabulary): {cause}"
    )


def _together(measured: list[tuple[Sample, Losses]]) -> tuple[Sample, Losses]:
    samples, losses = zip(*measured, strict=True)
    values, targets = (torch.cat([getattr(one, name) for one in losses]) for name in ("values", "targets"))
    return replace(samples[0], tokens=torch.cat([sample.tokens for sample in samples])), Losses(values, targets)


def _bits_per_byte(patient: Patient, texts: list[str]) -> float:
    """Of some texts, each by itself and without its first token, which has no context. NaN where they are too short."""
    probe, bits, size = Probe(patient.probe.model, None), 0.0, 0
    for text in texts:
        ids = patient.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"][:LONGEST]
        if len(ids) > 1:
            losses = probe.losses(torch.tensor([ids], device=patient.probe.model.device))
            bits += losses.mean() * losses.count() / math.log(2)
            size += len(patient.tokenizer.decode(ids[1:]).encode())
    return bits / size if size else math.nan


def _texts(sample: Sample, tokenizer: Any, borders: Borders) -> list[str]:
    """The text of each piece of a document in the sample. A character that a block cuts is left out."""
    pieces: list[str] = []
    for block in sample.tokens.tolist():
        for is_end, run in itertools.groupby(block, lambda token: token in borders.ids):
            pieces += [] if is_end else [tokenizer.decode(list(run)).strip("\ufffd")]
    return [piece for piece in pieces if piece]
