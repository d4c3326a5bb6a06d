"""Refusals and warnings of a fit. A refusal stops the export; a warning is exported with the winner."""

from __future__ import annotations

from sweep.study import Schema, numbers


class NextTrial(Schema):
    """A suggested trial, which would help to settle a finding."""

    almr: float
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
        trials = ", ".join(f"{numbers.almr(trial.almr)} / {numbers.lr(trial.lr)}" for trial in self.next)
        return f"{self.message}. Suggested trials (ALMR / LR): {trials}"
