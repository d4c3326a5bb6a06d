"""`training`: lengths, schedule and optimizer of every trial."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from sweep.study.fields import Count, Finite, Positive, Section, Several, Share, nearest_multiple
from sweep.study.sections.recipe.lr_schedule import VERSION, LrSchedule

LATER = ("horizons", "document_masking", "simulate_epochs", "dpo")  # fields that came after the first runs
Stage = Literal["cpt", "sft", "dpo"]


class Schedule(Section):
    """LR over the steps: linear warm-up, then a cosine decay, or a constant LR and a cosine decay (WSD).

    The first step learns, the step after the warm-up has the peak LR, and the last step has `min_lr` of it.
    """

    name: Literal["cosine", "wsd"] = "cosine"
    """Shape after the warm-up."""
    warmup: Share = 0.1
    """Share of all steps that warms up."""
    decay: Share = 0.2
    """WSD only: share of all steps that decays."""
    min_lr: Share = 0.1
    """LR of the last step, as a share of the peak LR. With 0, the last step changes nothing. 1: no decay."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.warmup + (self.decay if self.name == "wsd" else 0) > 1:
            raise ValueError("warmup + decay is over 1: lower one of them")
        return self

    def over(self, steps: int, full: int | None = None) -> LrSchedule:
        """The schedule over so many steps. `full`: the steps of the run whose warm-up it has; default: its own.

        A decay that would leave no step at the peak is a step shorter.
        """
        warmup = round(self.warmup * (full or steps))
        most = max(0, steps - 1 - warmup)
        decay = most if self.name == "cosine" else min(round(self.decay * steps), most)
        return LrSchedule(steps, warmup, decay, self.min_lr)

    def fault(self, steps: int, full: int | None = None) -> str | None:
        """Why a run of so many steps cannot have this schedule; None where it can. Arguments as in `over`."""
        made, low = self.over(steps, full), f"min_lr {self.min_lr:g}"
        if not made.peak:
            return f"schedule.warmup {self.warmup:g} takes all of {steps} steps, so none has the peak LR: lower it"
        if made.decay or self.min_lr == 1:
            return None
        if steps == 1:
            return f"schedule: one step cannot have both the peak LR and {low}: give the run more tokens"
        if self.name == "wsd" and round(self.decay * steps) == 0:
            return (
                f"schedule.decay {self.decay:g} lets none of {steps} steps decay, so the LR never falls to {low}: "
                f"raise it, or write min_lr: 1 for a constant LR"
            )
        return f"schedule.warmup {self.warmup:g} leaves none of {steps} steps to decay to {low}: lower it"


class Optimizer(Section):
    """The optimizer and its constants."""

    name: Literal["adamw"] = "adamw"
    """AdamW is the only one."""
    state: Literal["float32", "bfloat16", "int8"] = "float32"
    """Number type of the moments. bfloat16 and int8 take less memory; int8 needs the extra `kernels`."""
    beta1: Annotated[Finite, Field(ge=0, lt=1)] = 0.9
    """Decay rate of the first moment, per step."""
    beta2: Annotated[Finite, Field(ge=0, lt=1)] = 0.95
    """Decay rate of the second moment, per step."""
    epsilon: Positive = 1e-8
    """Added to the denominator of the update."""
    weight_decay: Annotated[Finite, Field(ge=0)] = 0.1
    """Decoupled weight decay: weights shrink by LR x this per step."""
    max_grad_norm: Positive = 1.0
    """Gradients are clipped to this norm."""


class Preference(Section):
    """Direct preference optimisation (DPO): Rafailov et al., NeurIPS 2023."""

    beta: Positive = 0.1
    """How strongly a trial is held to the base model: the factor of the log-ratios in the loss."""


class Training(Section):
    """The recipe that all trials of a study share.

    Each of `horizons` is measured on a branch off the trial's main run, with the decay that a run of so many tokens
    would have. All horizons have the warm-up steps of the full run.
    """

    stage: Stage = "cpt"
    """What is trained: `cpt`, continual pre-training on plain text; `sft`, supervised fine-tuning on conversations;
    `dpo`, direct preference optimisation on pairs of answers.
    """
    dpo: Preference | None = None
    """Settings of stage `dpo`. Default: beta 0.1 there, none elsewhere."""
    sequence_length: Annotated[Count, Field(ge=2)]
    """Tokens per training sequence."""
    tokens: Count
    """Training tokens of one trial."""
    horizons: Several[Count] = ()
    """WSD only: shorter token budgets at which each trial is measured too. Default: none."""
    global_batch_tokens: Count
    """Tokens per optimizer step, over all workers of a trial."""
    micro_batch_sequences: Count | None = None
    """Sequences that a worker takes in one forward pass; changes numbers only by rounding. Default: its whole share."""
    schedule: Schedule = Schedule()
    """LR over the steps."""
    optimizer: Optimizer = Optimizer()
    """The optimizer and its constants."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number type of the forward and backward pass."""
    simulate_epochs: bool = False
    """Let trials read each corpus as many times as the launch will: they draw from a fixed random part of it, which is
    to the launch's text as a trial's tokens are to the launch's. Needs `launch`.
    """
    document_masking: bool = False
    """Let tokens attend only to their own document, where a sequence holds several."""
    evaluation_tokens: Count = 32768
    """Most held-out tokens, per source of each language, that a loss is measured on."""
    divergence_margin: Positive = 1.0
    """A trial has diverged if the held-out loss on its mixture exceeds the base model's by more, in nats per token."""
    log_every: Count = 10
    """Steps between logged training losses."""
    evaluate_every: Count | None = None
    """Steps between logged held-out losses, for the curves and the predicted path of the launch. Default: only at the
    end."""

    @model_validator(mode="before")
    @classmethod
    def _dpo_has_its_settings(cls, content: Any) -> Any:
        given = isinstance(content, dict) and content.get("stage") == "dpo" and content.get("dpo") is None
        return content | {"dpo": {}} if given else content

    @model_validator(mode="after")
    def _settings_are_of_the_stage(self) -> Self:
        if self.dpo and self.stage != "dpo":
            raise ValueError(f"dpo: stage {self.stage} compares no answers: write stage: dpo, or remove it")
        return self

    @model_validator(mode="after")
    def _whole_sequences(self) -> Self:
        if self.global_batch_tokens % self.sequence_length:
            nearest = nearest_multiple(self.global_batch_tokens, self.sequence_length)
            raise ValueError(
                f"global_batch_tokens {self.global_batch_tokens} is not a multiple of sequence_length "
                f"{self.sequence_length}: write {nearest}"
            )
        if self.tokens < self.global_batch_tokens:
            raise ValueError(f"tokens {self.tokens} is less than one global batch: write {self.global_batch_tokens}")
        return self

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if fault := self.schedule.fault(self.steps):
            raise ValueError(fault)
        return self

    @field_validator("horizons")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(value))

    @model_validator(mode="after")
    def _horizons_branch_off(self) -> Self:
        if self.horizons and self.schedule.name != "wsd":
            raise ValueError("horizons branch off the stable LR of WSD: write schedule: {name: wsd}, or remove them")
        for shorter, longer in zip(self.horizons, (*self.horizons, self.tokens)[1:], strict=True):
            if fault := self._fault(shorter, longer):
                raise ValueError(f"horizons: {shorter} {fault}")
        return self

    def _fault(self, horizon: int, longer: int) -> str | None:
        """The fault of a horizon, or None. `longer`: the next longer one, or the full budget after the last."""
        steps = self.steps_of(horizon)
        if horizon < self.global_batch_tokens:
            return f"is less than one global batch: write {self.global_batch_tokens} or more"
        if horizon >= self.tokens:
            return f"is not below tokens {self.tokens}, which every trial is measured at: remove it"
        if steps == self.steps_of(longer):
            return f"is listed twice, or is as many steps as {longer} ({steps}): remove one"
        if (decays := steps - round(self.schedule.decay * steps)) < self.warmup_steps:
            return (
                f"would decay from step {decays} on, inside the warm-up of {self.warmup_steps} steps: "
                f"give it more tokens, or lower schedule.warmup"
            )
        fault = self.schedule.fault(steps, self.steps)
        return f"cannot be measured: {fault}" if fault else None

    def recipe(self) -> dict[str, Any]:
        """The fields that a trial's numbers depend on: without logging, and without the size of a micro-batch.

        Newer fields enter the recipe only when set, so that older studies keep their fingerprint.
        """
        recipe = self.model_dump(mode="json", exclude={"log_every", "evaluate_every", "micro_batch_sequences"})
        if self.optimizer.state == "float32":
            del recipe["optimizer"]["state"]
        recipe["schedule"]["version"] = VERSION
        if self.stage == "cpt":
            del recipe["stage"]
        return {name: value for name, value in recipe.items() if value or name not in LATER}

    def steps_of(self, tokens: int) -> int:
        return round(tokens / self.global_batch_tokens)

    @property
    def steps(self) -> int:
        return self.steps_of(self.tokens)

    def fewest_steps(self, numbers: Iterable[int]) -> int:
        """The first of these numbers of steps that the LR schedule can be had in, else those of the budget."""
        return next((n for n in numbers if not self.schedule.fault(n)), self.steps)

    @property
    def warmup_steps(self) -> int:
        return self.lr_schedule(self.steps).warmup

    def lr_schedule(self, steps: int) -> LrSchedule:
        """The schedule of a run of so many steps, as of a horizon: with the warm-up steps of the full run."""
        return self.schedule.over(steps, self.steps)

    def decay_from(self, steps: int) -> int:
        """The first step, from 0, below the peak after it, in a run of `steps` steps: its branch begins there."""
        return self.lr_schedule(steps).peak.stop

    @property
    def branch_steps(self) -> int:
        """Optimizer steps of one trial on all of its branches together."""
        return sum(self.lr_schedule(steps).decay for steps in map(self.steps_of, self.horizons))

    @property
    def trained_tokens(self) -> int:
        """Of one trial with its branches."""
        return (self.steps + self.branch_steps) * self.global_batch_tokens

    @property
    def batch_sequences(self) -> int:
        return self.global_batch_tokens // self.sequence_length

    @property
    def blocks(self) -> int:
        """Sequences that one trial trains on; its branches read the same ones again."""
        return self.steps * self.batch_sequences
