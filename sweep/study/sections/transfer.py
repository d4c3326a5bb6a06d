"""`launch.transfer`: how the winner is carried to the large run."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from sweep.study.fields import Count, Finite, Positive, Section, Share, Text

WIDTH_EXPONENT = -1 / 3


class Law(NamedTuple):
    """A published law: the best peak LR is proportional to parameters ** `parameters` x tokens ** `tokens`."""

    parameters: float
    tokens: float
    source: str


LAWS = {
    "step-law": Law(
        -0.713,
        0.307,
        "Step Law, Li et al., arXiv 2503.04715: dense models pre-trained from scratch, not continued",
    ),
    "deepseek": Law(
        -0.125,
        -0.125,
        "DeepSeek LLM, Bi et al., arXiv 2401.02954: LR ~ compute^-0.125 at the best batch, pre-training from scratch",
    ),
}


class ModelFacts(Section):
    """Facts of a model that cannot be looked up."""

    parameters: Count | None = None
    """Number of parameters. Default: that of the known model, or of `shape`."""
    pretraining_tokens: Count | None = None
    """Tokens that the model was pre-trained on. Default: those of the known model."""

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

    @model_validator(mode="after")
    def _run_or_numbers(self) -> Self:
        names = ("tokens", "lr", "lr_low", "lr_high", "almr", "almr_low", "almr_high")
        given = [name for name in names if getattr(self, name) is not None]
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

    `direct`: ALMR and LR unchanged. `power`: LR x (ratio of parameters) ** `parameters_exponent` x (ratio of tokens) **
    `tokens_exponent`; ALMR unchanged. `ladder`: the exponents of LR and the drift of ALMR are fitted on `rungs` and
    this sweep.
    """

    rule: Literal["direct", "power", "ladder"]
    """The rule; there is no default."""
    law: Literal["step-law", "deepseek"] | None = None
    """`power`: take both exponents from this published law."""
    parameters_exponent: Finite | None = None
    """`power`: exponent of the number of parameters."""
    tokens_exponent: Finite | None = None
    """Exponent of the training tokens: of `power`, and of a `ladder` whose rungs all have one token budget."""
    parameters_exponent_sd: Annotated[Finite, Field(ge=0)] = 0.0
    """Standard deviation of `parameters_exponent`; it widens the interval of the LR."""
    tokens_exponent_sd: Annotated[Finite, Field(ge=0)] = 0.0
    """Standard deviation of `tokens_exponent`; it widens the interval of the LR."""
    source: Text | None = None
    """Where the given exponents are from; required with them."""
    rungs: tuple[Rung, ...] = ()
    """`ladder`: the smaller sweeps."""
    trial: ModelFacts = ModelFacts()
    """Facts of the small model, where it is not a known model."""
    launch: ModelFacts = ModelFacts()
    """Facts of the large model, where it is not a known model."""
    edge_exponent: Annotated[Finite, Field(le=0)] = WIDTH_EXPONENT
    """The divergence LR scales as parameters ** this. Default: 1 / width (Yang et al., arXiv 2203.03466)."""
    confirm: Confirmation = Confirmation()
    """The confirmation runs."""

    @model_validator(mode="after")
    def _nothing_silent(self) -> Self:
        exponents = (self.parameters_exponent, self.tokens_exponent)
        if self.law and any(e is not None for e in (*exponents, self.source)):
            raise ValueError("give law, or exponents with their source, not both")
        if self.rule == "power" and not self.law and (None in exponents or self.source is None):
            raise ValueError(
                f"rule power has no default: name a published law ({', '.join(LAWS)}), or state parameters_exponent, "
                f"tokens_exponent and their source"
            )
        if self.rule == "ladder":
            self._refuse_empty_ladder()
        elif self.rungs:
            raise ValueError(f"rule {self.rule} reads no rungs: write rule: ladder, or remove them")
        if self.rule == "direct" and (self.law or any(e is not None for e in exponents)):
            raise ValueError("rule direct takes no law and no exponents: write rule: power, or remove them")
        return self

    def _refuse_empty_ladder(self) -> None:
        if not self.rungs:
            raise ValueError("rule ladder needs rungs: name the runs of smaller sweeps, - {run: runs/small}")
        if self.law or self.parameters_exponent is not None:
            raise ValueError("rule ladder fits the exponent of parameters: remove law and parameters_exponent")
        if self.tokens_exponent is not None and self.source is None:
            raise ValueError("tokens_exponent: say where it is from, source: ...")

    @property
    def exponents(self) -> Law | None:
        """The exponents of rule `power`, given or of its law; None for other rules."""
        if self.rule != "power":
            return None
        if self.law:
            return LAWS[self.law]
        assert self.parameters_exponent is not None  # the validator guarantees it
        assert self.tokens_exponent is not None
        assert self.source is not None
        return Law(self.parameters_exponent, self.tokens_exponent, self.source)
