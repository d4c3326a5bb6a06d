"""The part of `fit.json` about the transfer: the launch's setting, its uncertainty and its assumptions."""

from __future__ import annotations

from typing import Literal

from analysis.fit_file.winner import Interval
from sweep.study import Schema

Rule = Literal["direct", "power", "ladder"]

REPEATS = "corpus: a trial reads"  # in the warnings about repeated text, which an export counts by itself
# What begins the warnings that GO.md states as a check.
NEAR_EDGE, HISTORY, TOKENS = "training may diverge:", "pre-training tokens per parameter", "training tokens"


class Exponent(Schema):
    """An exponent of a power law of the LR. `fitted`: from rungs, else stated or published. `interval`: None where its
    uncertainty is not known."""

    value: float
    interval: Interval | None
    fitted: bool


class FittedRung(Schema):
    """A sweep that a ladder was fitted to. `lr_sd` is the standard deviation of ln LR, `almr_sd` of ALMR."""

    name: str
    parameters: int
    tokens: int
    lr: float
    lr_sd: float
    almr: float
    almr_sd: float


class EdgeAfter(Schema):
    """The divergence edge scaled to the launch's size: `lr`, and its ratio to the launch's LR. None: not known.

    `measured` is False where no trial diverged: `lr` is then a lower bound.
    """

    lr: float | None
    factor: float | None
    measured: bool
    assumption: str

    def over(self, lr: float) -> float | None:
        """The edge's ratio to another LR, such as one from a confirmation."""
        return None if self.lr is None else self.lr / lr


class Cost(Schema):
    """The loss at another LR minus the loss at the chosen one, in nats per token."""

    nats: float
    interval: Interval


class LrCost(Schema):
    """The cost of half and of twice the LR, on the small model's surface at its winner. None: outside the tried LRs."""

    half: Cost | None
    double: Cost | None
    assumption: str


class Transfer(Schema):
    """The setting for the launch, with intervals at the winner's level.

    Rules `direct` and `power`: the small model's intervals, widened by the exponents' stated sd alone; `ladder`:
    prediction intervals. `parameters` and `tokens` are the exponents that scaled the LR, `size_ratio` and `token_ratio`
    the ratios launch / trial, None where not known. `rungs`: of a ladder, this sweep included.
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
        """The LR that the rule predicts for a run with this share of the launch's tokens."""
        return float(self.lr * share ** (self.tokens.value if self.tokens else 0.0))
