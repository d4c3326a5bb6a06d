"""The parts of `fit.json` about the sources of the text: guards of their losses, and what the winner does to each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from analysis.fit_file.winner import LossAtWinner
from sweep.study import Schema, numbers

Verdict = Literal["better", "worse", "not distinguishable"]


class LossGuard(Schema):
    """A guard of one loss, of the source or language `source`: it has to be at most `bound` nats, `percent` over the
    base model's, `base`. `probability`: that the winner keeps it.
    """

    source: str
    percent: float
    base: float
    bound: float
    probability: float

    def kept(self, level: float) -> bool:
        return self.probability >= level


class SourceAtWinner(Schema):
    """One source of a language's text at the winner, against the base model; losses in nats per token.

    `share`: of its language's tokens. `epochs`: passes of a trial at the winner's ALMR over its text. `loss` is
    predicted by a surface, None where too few trials measured it. `bits_per_byte` is of the same prediction.
    `verdict`: whether the loss's interval leaves out the base model's loss. None: not known.
    """

    name: str
    language: Literal["original", "additional"]
    share: float
    epochs: float | None = None
    base: float | None = None
    loss: LossAtWinner | None = None
    base_bits_per_byte: float | None = None
    bits_per_byte: float | None = None
    verdict: Verdict | None = None

    @property
    def change(self) -> float | None:
        """The predicted loss minus the base model's."""
        return None if self.loss is None or self.base is None else self.loss.mean - self.base


def guards_named(forgetting: bool, sources: Sequence[str], label: Callable[[str], str]) -> str:
    """The guards of losses in words; empty without any. `forgetting`: whether the original language has one."""
    names = " and ".join(map(label, sources))
    named = [f"the {'guards' if sources[1:] else 'guard'} of {names}"] if sources else []
    return " and ".join([*(["the forgetting guard"] if forgetting else []), *named])


def loss_guard_line(guard: LossGuard, label: Callable[[str], str]) -> str:
    """A guard and how likely it is kept, in words; `label` gives the name of a source or language."""
    return (
        f"the loss of {label(guard.source)} at most {numbers.number(guard.bound, 4)}, {guard.percent:g} % above the "
        f"base model's {numbers.number(guard.base, 4)}: kept with probability {numbers.percent(guard.probability)}"
    )
