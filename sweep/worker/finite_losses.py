"""Divergence of any trainer's trial: whatever trained it, one without a finite held-out loss is not complete."""

from __future__ import annotations

import math
from typing import TypeVar

from sweep.study import LANGUAGES, Horizon, PerLanguage, Record, SourceResult, Status
from sweep.study.files.trial_files import LARGEST_LOSS

Part = TypeVar("Part", PerLanguage, SourceResult)


def with_finite_losses(record: Record) -> Record:
    """The record; one that counts as complete without a finite held-out loss of each language has diverged instead. A
    loss on its way to infinity is none, as for the readers of records.
    """
    sources = {name: _sound(one) for name, one in record.sources.items()}
    losses = {"loss": _sound(record.loss), "bits_per_byte": _sound(record.bits_per_byte), "sources": sources}
    record = record.model_copy(update=losses | {"horizons": tuple(map(_of_horizon, record.horizons))})
    lost = [language for language in LANGUAGES if getattr(record.loss, language) is None]
    if record.status is not Status.COMPLETE or not lost:
        return record
    reason = f"the held-out loss of {' and '.join(lost)} is not finite, or was not measured"
    return record.model_copy(update={"status": Status.DIVERGED, "reason": reason})


def _of_horizon(found: Horizon) -> Horizon:
    sources = {name: _sound(one) for name, one in found.sources.items()}
    losses = {"loss": _sound(found.loss), "bits_per_byte": _sound(found.bits_per_byte), "sources": sources}
    return found.model_copy(update=losses)


def _sound(found: Part) -> Part:
    """With None for each loss, and each number of bits, that is not finite or beyond every measured one."""
    names = LANGUAGES if isinstance(found, PerLanguage) else ("loss", "bits_per_byte")
    return found.model_copy(update={name: _measured(getattr(found, name)) for name in names})


def _measured(loss: float | None) -> float | None:
    return loss if loss is not None and math.isfinite(loss) and loss <= LARGEST_LOSS else None
