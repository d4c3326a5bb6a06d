"""A study's `launch.transfer`: how the winner is carried to the large run. A leaf: pydantic only."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from sweep.study.fields import Count, Finite, Pattern, Positive, Schema, Share

WIDTH_EXPONENT = -1 / 3


class Law(NamedTuple):
    """Best peak LR in proportion to parameters ** `parameters` x tokens ** `tokens`."""

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


class ModelFacts(Schema):
    """What a model is: its parameters, and the tokens that it was pre-trained on. None: not known."""

    parameters: Count | None = None
    pretraining_tokens: Count | None = None


class Rung(Schema):
    """A sweep of a smaller model or budget: `run`, the folder of a finished one, or its numbers. `parameters` may be
    left out for a run of a model that is known, or whose study states its shape.
    """

    run: Pattern | None = None
    parameters: Count | None = None
    tokens: Count | None = None
    lr: Positive | None = None
    lr_low: Positive | None = None
    lr_high: Positive | None = None
    almr: Share | None = None
    almr_low: Share | None = None
    almr_high: Share | None = None
    level: Annotated[Finite, Field(ge=0.5, lt=1)] = 0.9

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
        for dial in ("lr", "almr"):
            low, value, high = (getattr(self, f"{dial}{end}") for end in ("_low", "", "_high"))
            if not low <= value <= high:
                raise ValueError(f"{dial} {value:g} is not between {dial}_low {low:g} and {dial}_high {high:g}")
        return self


class Confirmation(Schema):
    """The brief runs at the target size that `almr confirm` judges: `runs` LRs from 1/`factor` to `factor` times the
    chosen one, of `tokens` each (by default 1 % of the launch, at least 100 steps).

    `tolerance`: nats per token that the chosen LR may cost over the best one and still hold.
    """

    runs: Annotated[Count, Field(ge=3, le=5)] = 5
    factor: Annotated[Finite, Field(gt=1, le=10)] = 2.0
    tokens: Count | None = None
    tolerance: Positive = 0.005


class TransferRule(Schema):
    """`direct`: the small model's ALMR and LR unchanged. `power`: LR x (parameters' ratio) ** `parameters_exponent` x
    (tokens' ratio) ** `tokens_exponent`, both stated with their `source`, or those of a published `law`; the ALMR
    unchanged. `ladder`: the exponents of LR and the drift of ALMR fitted from `rungs`, smaller sweeps, and this
    one; a budget that they do not vary takes the stated `tokens_exponent`.

    `*_exponent_sd` widen the interval. `trial` and `launch` state what is not known of the two models. The LR at which
    training diverges is taken to move by (parameters' ratio) ** `edge_exponent`, by default that of 1 / width where
    width, depth and parameters grow together (Yang et al., arXiv 2203.03466).
    """

    rule: Literal["direct", "power", "ladder"]
    law: Literal["step-law", "deepseek"] | None = None
    parameters_exponent: Finite | None = None
    tokens_exponent: Finite | None = None
    parameters_exponent_sd: Annotated[Finite, Field(ge=0)] = 0.0
    tokens_exponent_sd: Annotated[Finite, Field(ge=0)] = 0.0
    source: Pattern | None = None
    rungs: tuple[Rung, ...] = ()
    trial: ModelFacts = ModelFacts()
    launch: ModelFacts = ModelFacts()
    edge_exponent: Annotated[Finite, Field(le=0)] = WIDTH_EXPONENT
    confirm: Confirmation = Confirmation()

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
        """Those of the rule `power`."""
        if self.rule != "power":
            return None
        if self.law:
            return LAWS[self.law]
        assert self.parameters_exponent is not None  # the validator saw to it
        assert self.tokens_exponent is not None
        assert self.source is not None
        return Law(self.parameters_exponent, self.tokens_exponent, self.source)
