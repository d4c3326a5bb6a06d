"""Refusals and warnings of a fit. A refusal stops the export; a warning is exported with the winner."""

from __future__ import annotations

import math

from analysis.fit_file.unknown import OrUnknown
from sweep.study import Schema, numbers


class NextTrial(Schema):
    """A suggested trial, which would help to settle a finding."""

    almr: OrUnknown
    lr: float


class Finding(Schema):
    """`code` is one word for scripts, `message` a sentence for people, `next` the suggested trials."""

    code: str
    message: str
    next: tuple[NextTrial, ...] = ()

    @property
    def text(self) -> str:
        """The message and the suggested trials, in one line."""
        if not self.next:
            return self.message
        known = not any(math.isnan(trial.almr) for trial in self.next)
        trials = ", ".join(
            f"{numbers.almr(t.almr)} / {numbers.lr(t.lr)}" if known else numbers.lr(t.lr) for t in self.next
        )
        return f"{self.message}. Suggested trials ({'ALMR / LR' if known else 'LR'}): {trials}"
