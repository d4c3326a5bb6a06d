"""Refusals and warnings of a fit. A refusal stops the export; a warning goes with it."""

from __future__ import annotations

from sweep.study.fields import Schema


class NextTrial(Schema):
    """A trial worth running: it would settle the finding that names it."""

    almr: float
    lr: float


class Finding(Schema):
    """`code` is one word for scripts, `message` a sentence for people, `next` what to run next."""

    code: str
    message: str
    next: tuple[NextTrial, ...] = ()

    @property
    def text(self) -> str:
        """The message, with the trials to run next."""
        if not self.next:
            return self.message
        return f"{self.message}; run next: {', '.join(f'ALMR {t.almr:.3g} LR {t.lr:.3g}' for t in self.next)}"
