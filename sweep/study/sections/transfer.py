"""`launch.transfer`: how the winner is carried to the large run."""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from sweep.study import numbers
from sweep.study.fields import Count, Finite, Positive, Section, Share, Text

WIDTH_EXPONENT = -1 / 3
BATCH_EXPONENT = 0.5
# Standard deviations of exponents, so that 1.64 of them are 90 %. Of parameters and tokens: rounded from the scatter of
# the published exponents at one batch, which are those of LAWS, -1/3 of parameters (as 1 / width, Yang et al., arXiv
# 2203.03466) and -0.56 of tokens (Filatov et al., arXiv 2510.03871). Of the batch: 0.5 and 0.62 (2510.03871) are
# published below the critical batch, and 0 holds far above it (Li et al., arXiv 2405.14578).
PARAMETERS_SD, TOKENS_SD, BATCH_SD = 0.2, 0.25, 0.2
FAR_HORIZON = 10.0
STEEPEST = 5.0  # published exponents are below 1; beyond this a mistyped one would give no number at all
BATCH_SOURCE = "Malladi et al., arXiv 2205.10287: the square-root scaling rule of Adam"


Exponent = Annotated[Finite, Field(ge=-STEEPEST, le=STEEPEST)]
ExponentSd = Annotated[Finite, Field(ge=0, le=STEEPEST)]


class Law(NamedTuple):
    """A published law: the best peak LR is proportional to parameters ** `parameters` x tokens ** `tokens`.

    It was found at batches proportional to parameters ** `batch_parameters` x tokens ** `batch_tokens`.
    """

    parameters: float
    tokens: float
    source: str
    batch_parameters: float = 0.0
    batch_tokens: float = 0.0

    def at_one_batch(self, batch_exponent: float) -> Law:
        """The law for one batch: without the growth of the LR that belongs to the growth of its batch."""
        return Law(
            self.parameters - batch_exponent * self.batch_parameters,
            self.tokens - batch_exponent * self.batch_tokens,
            self.source,
        )


LAWS = {
    "step-law": Law(
        -0.713,
        0.307,
        "Step Law, Li et al., arXiv 2503.04715: dense models pre-trained from scratch, not continued",
        batch_tokens=0.571,
    ),
    "deepseek": Law(
        -0.125,
        -0.125,
        "DeepSeek LLM, Bi et al., arXiv 2401.02954: LR ~ compute^-0.125 at batch ~ compute^0.327, from scratch",
        batch_parameters=0.3271,
        batch_tokens=0.3271,
    ),
    "token-horizon": Law(
        -0.23,
        -0.32,
        "Bjorck et al., arXiv 2409.19913: LR ~ N^-0.23 D^-0.32 at one batch, pre-training from scratch",
    ),
}


class ModelFacts(Section):
    """Facts of a model that cannot be looked up."""

    parameters: Count | None = None
    """Number of parameters. Default: that of the known model, or of `shape`."""
    pretraining_tokens: Count | None = None
    """Tokens that the model was pre-trained on. Default: those of the known model."""
    peak_lr: Positive | None = None
    """Peak LR of the model's pre-training, for rule `relative`. Default: that of the known model."""

    @property
    def tokens_per_parameter(self) -> float | None:
        """Pre-training tokens per parameter; None where not known."""
        return self.pretraining_tokens / self.parameters if self.parameters and self.pretraining_tokens else None


class Rung(Section):
    """A sweep of a smaller model or token budget: give the `run`, or all of its numbers."""

    run: Text | None = None
    """Folder of a finished run, relative to the study file."""
    parameters: Count | None = None
    """Number of parameters of its model. Default: that of the run's model, where it is known."""
    tokens: Count | None = None
    """Training tokens of its trials."""
    global_batch_tokens: Count | None = None
    """Tokens per optimizer step of its trials. Default: that of the run, or of this study's trials."""
    lr: Positive | None = None
    """Its best LR."""
    lr_low: Positive | None = None
    """Lower end of the interval of its best LR."""
    lr_high: Positive | None = None
    """Upper end of the interval of its best LR."""
    almr: Share | None = None
    """Its best ALMR, 0 to 1."""
    almr_low: Share | None = None
    """Lower end of the interval of its best ALMR."""
    almr_high: Share | None = None
    """Upper end of the interval of its best ALMR."""
    level: Annotated[Finite, Field(ge=0.5, lt=1)] = 0.9
    """Probability that its intervals cover."""
    loss_original: Positive | None = None
    """Held-out loss of the original language at its best setting, in nats per token. Default: not known."""
    loss_additional: Positive | None = None
    """Held-out loss of the additional language at its best setting, in nats per token. Default: not known."""

    @model_validator(mode="after")
    def _run_or_numbers(self) -> Self:
        names = ("tokens", "lr", "lr_low", "lr_high", "almr", "almr_low", "almr_high")
        optional = ("global_batch_tokens", "loss_original", "loss_additional")
        given = [name for name in (*names, *optional) if getattr(self, name) is not None]
        if self.run is not None:
            if given:
                raise ValueError(f"a rung that names a run takes no {given[0]}: fit.json has it; remove one of the two")
            return self
        missing = [name for name in ("parameters", *names) if getattr(self, name) is None]
        if missing:
            raise ValueError(f"give run, or all of a rung's numbers (missing: {', '.join(missing)})")
        for name in ("lr", "almr"):
            low, value, high = (getattr(self, f"{name}{end}") for end in ("_low", "", "_high"))
            if not low <= value <= high:
                raise ValueError(f"{name} {value:g} is not between {name}_low {low:g} and {name}_high {high:g}")
        return self


class Confirmation(Section):
    """The short runs of the large model with which `almr confirm` tests the chosen LR."""

    runs: Annotated[Count, Field(ge=3, le=5)] = 5
    """Number of LRs that are tried."""
    factor: Annotated[Finite, Field(gt=1, le=10)] = 2.0
    """The LRs range from 1/factor to factor times the chosen LR."""
    tokens: Count | None = None
    """Training tokens of each run. Default: 1 % of the launch, at least 100 steps."""
    tolerance: Positive = 0.005
    """The chosen LR is confirmed if its loss exceeds the best by at most this, in nats per token."""


class TransferRule(Section):
    """How the winner is carried from the small model to the large one.

    A rule says what the size of the model does. `direct`: nothing; ALMR and LR stay. `relative`: the LR is the same
    share of each model's own pre-training peak LR. `power`: LR x (ratio of parameters) ** `parameters_exponent`.
    `ladder`: the exponents of LR and the drift of ALMR are fitted on `rungs` and this sweep. Every rule also scales the
    LR by (ratio of batches) ** `batch_exponent` x (ratio of tokens) ** `tokens_exponent`; all but `ladder` leave the
    ALMR unchanged.
    """

    rule: Literal["direct", "relative", "power", "ladder"]
    """The rule; there is no default."""
    law: Literal["step-law", "deepseek", "token-horizon"] | None = None
    """`power`: take the exponents of parameters and tokens from this published law, corrected to one batch."""
    parameters_exponent: Exponent | None = None
    """Exponent of the parameters: of `power`, and of a `ladder` whose rungs all have one size."""
    tokens_exponent: Exponent | None = None
    """Exponent of the training tokens at one batch. Default: fitted where the trials have horizons, else none."""
    batch_exponent: Exponent = BATCH_EXPONENT
    """Exponent of the global batch at equal tokens. Default: square root, for Adam (Malladi et al., arXiv 2205.10287).
    A `ladder` whose rungs have several batches fits it."""
    parameters_exponent_sd: ExponentSd = PARAMETERS_SD
    """Standard deviation of what the size does. Default: the scatter of published exponents (docs/transfer.md)."""
    tokens_exponent_sd: ExponentSd = TOKENS_SD
    """Standard deviation of the exponent of tokens. Default: the scatter of published exponents (docs/transfer.md)."""
    batch_exponent_sd: ExponentSd = BATCH_SD
    """Standard deviation of `batch_exponent`. Default: from published values, and none above the critical batch."""
    accept_token_ratio: Annotated[Finite, Field(ge=1)] = FAR_HORIZON
    """Without an exponent of tokens, the LR is carried over at most this ratio of tokens; beyond it, it is refused."""
    source: Text | None = None
    """Where the given exponents are from; required with them."""
    rungs: tuple[Rung, ...] = ()
    """Smaller sweeps, or sweeps at other budgets or batches: of `ladder`. Other rules are compared with that ladder."""
    trial: ModelFacts = ModelFacts()
    """Facts of the small model, where it is not a known model."""
    launch: ModelFacts = ModelFacts()
    """Facts of the large model, where it is not a known model."""
    edge_exponent: Annotated[Finite, Field(ge=-STEEPEST, le=0)] = WIDTH_EXPONENT
    """The divergence LR scales as parameters ** this. Default: 1 / width (Yang et al., arXiv 2203.03466)."""
    confirm: Confirmation = Confirmation()
    """The confirmation runs."""

    @model_validator(mode="after")
    def _nothing_silent(self) -> Self:
        exponents = (self.parameters_exponent, self.tokens_exponent)
        given = any(e is not None for e in exponents)
        if self.law and (given or self.source is not None):
            raise ValueError("give law, or exponents with their source, not both")
        if self.law and self.rule != "power":
            raise ValueError(f"rule {self.rule} takes no law: write rule: power, or remove it")
        if self.rule == "power" and not self.law and (None in exponents or self.source is None):
            raise ValueError(
                f"rule power has no default: name a published law ({', '.join(LAWS)}), or state parameters_exponent, "
                f"tokens_exponent and their source"
            )
        if self.rule in ("direct", "relative") and self.parameters_exponent is not None:
            raise ValueError(f"rule {self.rule} takes no parameters_exponent: write rule: power, or remove it")
        runs = [rung.run for rung in self.rungs if rung.run]
        if twice := next((run for run in runs if runs.count(run) > 1), None):
            raise ValueError(f"rungs: {twice} is named twice, and its sweep would count twice: remove one")
        if given and self.source is None:
            name = "tokens_exponent" if self.tokens_exponent is not None else "parameters_exponent"
            raise ValueError(f"{name}: say where it is from, source: ...")
        return self

    @property
    def published(self) -> Law | None:
        """The law of rule `power`, named or as stated; None for other rules."""
        if self.rule != "power":
            return None
        if self.law:
            return LAWS[self.law]
        assert self.parameters_exponent is not None  # the validator guarantees it
        assert self.tokens_exponent is not None
        assert self.source is not None
        return Law(self.parameters_exponent, self.tokens_exponent, self.source)

    def horizon_fault(self, token_ratio: float, fitted: bool = False) -> str | None:
        """Why the LR is not carried over so many times the tokens; None where it is. `fitted`: the trials, or the
        rungs, measure the exponent.
        """
        if fitted or self.law or self.tokens_exponent is not None:
            return None
        if max(token_ratio, 1 / token_ratio) <= self.accept_token_ratio:
            return None
        farther = math.ceil(max(token_ratio, 1 / token_ratio))
        return (
            f"launch.transfer: the launch trains {numbers.times(token_ratio)} the tokens of a trial, and rule "
            f"{self.rule} has no exponent for that: set tokens_exponent and its source, measure it by WSD and "
            f"training.horizons, or take the LR as it is by accept_token_ratio: {farther}"
        )
