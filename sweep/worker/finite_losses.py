"""Divergence of any trainer's trial: whatever trained it, one without a finite held-out loss is not complete."""

from __future__ import annotations

import math

from sweep.study import LANGUAGES, PerLanguage, Record, Status


def with_finite_losses(record: Record) -> Record:
    """The record; one that counts as complete without a finite held-out loss of each language has diverged instead."""
    losses = {language: getattr(record.loss, language) for language in LANGUAGES}
    lost = [language for language, loss in losses.items() if loss is None or not math.isfinite(loss)]
    if record.status is not Status.COMPLETE or not lost:
        return record
    loss = PerLanguage(**{language: None if language in lost else losses[language] for language in LANGUAGES})
    reason = f"the held-out loss of {' and '.join(lost)} is not finite, or was not measured"
    return record.model_copy(update={"status": Status.DIVERGED, "reason": reason, "loss": loss})
