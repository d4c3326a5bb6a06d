"""How a trial trains: lengths, schedule and optimizer. A leaf: standard library and pydantic only."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from sweep.study.fields import Count, Finite, Positive, Schema, Share, listed, nearest_multiple


class Schedule(Schema):
    """LR over the steps: linear warm-up, then cosine, or stable and a cosine decay (WSD). Shares are of all steps."""

    name: Literal["cosine", "wsd"] = "cosine"
    warmup: Share = 0.1
    decay: Annotated[Share, Field(description="WSD only: the share of steps that decays")] = 0.2
    min_lr: Annotated[Share, Field(description="the last LR as a share of the peak")] = 0.1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.warmup + (self.decay if self.name == "wsd" else 0) > 1:
            raise ValueError("warmup + decay is over 1: lower one of them")
        return self


class Optimizer(Schema):
    """AdamW. `state` is what its moments are kept in: int8 (of the extra `kernels`) and bfloat16 take less memory."""

    name: Literal["adamw"] = "adamw"
    state: Literal["float32", "bfloat16", "int8"] = "float32"
    beta1: Annotated[Finite, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[Finite, Field(ge=0, lt=1)] = 0.95
    epsilon: Positive = 1e-8
    weight_decay: Annotated[Finite, Field(ge=0)] = 0.1
    max_grad_norm: Positive = 1.0


class Training(Schema):
    """The recipe that every trial of a study shares. Lengths and sizes are in tokens.

    A trial has diverged when a loss is not finite, or when its held-out loss on its own mixture is more than
    `divergence_margin` nats above the base model's. Every `evaluate_every` steps the held-out losses are logged, which
    changes no number of the record.

    `horizons` are shorter token budgets that a WSD trial is measured at too, ascending. Each branches off the trial's
    trunk for the decay that a run of so many tokens would have. The warm-up is as many steps for all of them:
    `schedule.warmup` of the full run.

    `micro_batch_sequences` is what one worker takes at once; it changes the numbers by rounding alone. With
    `document_masking` tokens attend to their own document only, where a sequence holds several.
    """

    sequence_length: Annotated[Count, Field(ge=2)]
    tokens: Count
    horizons: Annotated[tuple[Count, ...], BeforeValidator(listed)] = ()
    global_batch_tokens: Count
    micro_batch_sequences: Count | None = None
    schedule: Schedule = Schedule()
    optimizer: Optimizer = Optimizer()
    precision: Literal["float32", "bfloat16"] = "float32"
    document_masking: bool = False
    evaluation_tokens: Count = 32768
    divergence_margin: Positive = 1.0
    log_every: Count = 10
    evaluate_every: Count | None = None

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
        """What is wrong with a horizon, given the next longer one or, after the last, the full budget."""
        steps = self.steps_of(horizon)
        if horizon < self.global_batch_tokens:
            return f"is less than one global batch: write {self.global_batch_tokens} or more"
        if horizon >= self.tokens:
            return f"is not below tokens {self.tokens}, which every trial is measured at: remove it"
        if steps == self.steps_of(longer):
            return f"is listed twice, or is as many steps as {longer} ({steps}): remove one"
        if self.decay_from(steps) < self.warmup_steps:
            return (
                f"would decay from step {self.decay_from(steps)} on, inside the warm-up of {self.warmup_steps} steps: "
                f"give it more tokens, or lower schedule.warmup"
            )
        return None

    def recipe(self) -> dict[str, Any]:
        """The fields that a trial's numbers depend on: not what is only logged, nor how a batch is cut.

        A field that came later stands in it only where it is used: studies that do not, keep their fingerprint.
        """
        recipe = self.model_dump(mode="json", exclude={"log_every", "evaluate_every", "micro_batch_sequences"})
        if self.optimizer.state == "float32":
            del recipe["optimizer"]["state"]
        return {name: value for name, value in recipe.items() if value or name not in ("horizons", "document_masking")}

    def steps_of(self, tokens: int) -> int:
        return round(tokens / self.global_batch_tokens)

    @property
    def steps(self) -> int:
        return self.steps_of(self.tokens)

    @property
    def warmup_steps(self) -> int:
        return round(self.schedule.warmup * self.steps)

    def decay_from(self, steps: int) -> int:
        """The step (from 0) that the WSD decay of a run of so many steps begins at."""
        return steps - round(self.schedule.decay * steps)

    @property
    def branch_steps(self) -> int:
        """Steps that one trial takes on all of its branches together."""
        return sum(steps - self.decay_from(steps) for steps in map(self.steps_of, self.horizons))

    @property
    def batch_sequences(self) -> int:
        return self.global_batch_tokens // self.sequence_length

    @property
    def blocks(self) -> int:
        """Blocks (sequences) that one trial trains on; its branches read them again."""
        return self.steps * self.batch_sequences
