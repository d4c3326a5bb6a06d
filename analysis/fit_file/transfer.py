"""What a rule came to: the launch's setting, how far it can be off, and what the step to it assumes."""

from __future__ import annotations

from typing import Literal

from analysis.fit_file.winner import Interval
from sweep.study.fields import Schema

Rule = Literal["direct", "power", "ladder"]


class Exponent(Schema):
    """Of one quantity in a power law of the LR. `fitted`: from rungs; else it was stated or published. `interval` is
    None where nothing says how well it is known."""

    value: float
    interval: Interval | None
    fitted: bool


class FittedRung(Schema):
    """A sweep that a ladder was fitted from. `sd` are standard deviations: of ln LR, and of ALMR."""

    name: str
    parameters: int
    tokens: int
    lr: float
    lr_sd: float
    almr: float
    almr_sd: float


class EdgeAfter(Schema):
    """The divergence edge carried to the launch's size: its LR, and its ratio to the launch's LR. None: not known.

    `measured` is False where nothing diverged in the sweep: the edge then lies above this LR.
    """

    lr: float | None
    factor: float | None
    measured: bool
    assumption: str

    def over(self, lr: float) -> float | None:
        """The edge's ratio to another LR, such as one that a confirmation moved."""
        return None if self.lr is None else self.lr / lr


class Cost(Schema):
    """Nats per token that an LR costs over the chosen one, with its interval; below 0 it would gain."""

    nats: float
    interval: Interval


class LrCost(Schema):
    """What half and twice the LR cost, on the small model's surface at its winner. None: outside the measured LRs."""

    half: Cost | None
    double: Cost | None
    assumption: str


class Transfer(Schema):
    """The setting for the launch, and the interval of each dial at the winner's level.

    Of `direct` and `power` the intervals are the small model's own, widened only by what the exponents' stated sd adds;
    of `ladder` they are prediction intervals. `parameters` and `tokens` are the exponents that LR was carried by,
    `size_ratio` and `token_ratio` how far: launch over trial, None where not known. `rungs`, of a ladder alone, have
    this sweep too.
    """

    rule: Rule
    assumption: str
    source: str | None = None
    almr: float
    almr_interval: Interval
    lr: float
    lr_interval: Interval
    parameters: Exponent | None = None
    tokens: Exponent | None = None
    size_ratio: float | None = None
    token_ratio: float | None = None
    rungs: tuple[FittedRung, ...] = ()
    edge: EdgeAfter | None = None
    lr_cost: LrCost | None = None
    warnings: tuple[str, ...]

    def lr_at(self, share: float) -> float:
        """The LR that the rule predicts for a run of this share of the launch's tokens."""
        return float(self.lr * share ** (self.tokens.value if self.tokens else 0.0))
