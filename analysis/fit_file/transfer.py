"""The part of `fit.json` about the transfer: the launch's setting, its uncertainty and its assumptions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from analysis.fit_file.winner import Interval
from sweep.study import Schema

Rule = Literal["direct", "relative", "power", "ladder"]

REPEATS = "corpus: a trial reads"  # in the warnings about repeated text, which an export counts by itself
# What begins the warnings that GO.md states as a check.
NEAR_EDGE, HISTORY, TOKENS = "training may diverge:", "pre-training tokens per parameter", "training tokens"


class Exponent(Schema):
    """An exponent of a power law of the LR. `fitted`: from rungs or horizons, else stated or published. `interval` is
    None where `sd` is 0."""

    value: float
    interval: Interval | None
    fitted: bool
    sd: float = 0.0


class RungLoss(Schema):
    """The loss at a rung's best setting, in nats per token, and its standard deviation."""

    mean: float
    sd: float


class FittedRung(Schema):
    """A sweep that a ladder was fitted to. `lr_sd` is the standard deviation of ln LR, `almr_sd` of ALMR. `batch`:
    tokens per optimizer step. `losses`: by language, as far as known. `peak_lr`: of its model's pre-training.
    """

    name: str
    parameters: int
    tokens: int
    batch: int
    lr: float
    lr_sd: float
    almr: float
    almr_sd: float
    losses: dict[str, RungLoss] = Field(default_factory=dict)
    peak_lr: float | None = None


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


class Shrinkage(Schema):
    """What weight decay alone takes off the weights over a whole run, as a share of them: of a trial at the winner, and
    of the launch at its LR.
    """

    trial: float
    launch: float


class LaunchLoss(Schema):
    """The held-out loss that a language is predicted to have after the launch, in nats per token, with its interval.

    From the losses of `sizes` model sizes at `tokens` training tokens: a floor and a power of the parameters.
    """

    loss: float
    interval: Interval
    sizes: int
    tokens: int


class RuleEstimate(Schema):
    """What one transfer rule says of the launch. `lr` and the others are None where it cannot be computed.

    `applies`: whether its LR may be used; `why` says why not, or why it is not computed. `chosen`: the study's rule.
    `regret`: what the rule would have lost at this sweep's size, from the next smaller rung's winner; None where no
    rung is smaller.
    """

    rule: str
    lr: float | None = None
    lr_interval: Interval | None = None
    almr: float | None = None
    almr_interval: Interval | None = None
    applies: bool = False
    chosen: bool = False
    why: str = ""
    regret: Cost | None = None


class Transfer(Schema):
    """The setting for the launch, with intervals at the winner's level.

    The LR's interval: the sweep's own, widened by the sds of the exponents; of a `ladder`, its prediction interval.
    `parameters`, `tokens` and `batch` are the exponents that scaled the LR, `size_ratio`, `token_ratio` and
    `batch_ratio` the ratios launch / trial; None where not known, or where the rule has none. `rungs`: of a ladder,
    this sweep included. `losses`: predicted after the launch, by language; `no_losses` says why there are none.
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
    batch: Exponent | None = None
    size_ratio: float | None = None
    token_ratio: float | None = None
    batch_ratio: float | None = None
    rungs: tuple[FittedRung, ...] = ()
    edge: EdgeAfter | None = None
    lr_cost: LrCost | None = None
    shrinkage: Shrinkage | None = None
    losses: dict[str, LaunchLoss] = Field(default_factory=dict)
    no_losses: str | None = None
    warnings: tuple[str, ...]

    def lr_at(self, share: float) -> float:
        """The LR that the rule predicts for a run with this share of the launch's tokens."""
        return float(self.lr * share ** (self.tokens.value if self.tokens else 0.0))
