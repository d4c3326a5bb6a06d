"""How a trial trains: lengths, schedule and optimizer. A leaf: standard library and pydantic only."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sweep.fields import Count, Finite, Positive, Share, nearest_multiple
from sweep.trial import Schema


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
    name: Literal["adamw"] = "adamw"
    beta1: Annotated[Finite, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[Finite, Field(ge=0, lt=1)] = 0.95
    epsilon: Positive = 1e-8
    weight_decay: Annotated[Finite, Field(ge=0)] = 0.1
    max_grad_norm: Positive = 1.0


class Training(Schema):
    """The recipe that every trial of a study shares. Lengths and sizes are in tokens.

    A trial has diverged when a loss is not finite, or when its held-out loss on its own mixture is more than
    `divergence_margin` nats above the base model's. Every `evaluate_every` steps the held-out losses
    are logged, which changes no number of the record.
    """

    sequence_length: Annotated[Count, Field(ge=2)]
    tokens: Count
    global_batch_tokens: Count
    micro_batch_sequences: Count | None = None
    schedule: Schedule = Schedule()
    optimizer: Optimizer = Optimizer()
    precision: Literal["float32", "bfloat16"] = "float32"
    gradient_checkpointing: bool = False
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

    def recipe(self) -> dict[str, Any]:
        """The fields that a trial's numbers depend on: not what is only logged."""
        return self.model_dump(mode="json", exclude={"log_every", "evaluate_every"})

    @property
    def steps(self) -> int:
        return round(self.tokens / self.global_batch_tokens)

    @property
    def batch_sequences(self) -> int:
        return self.global_batch_tokens // self.sequence_length

    @property
    def blocks(self) -> int:
        """Blocks (sequences) that one trial trains on."""
        return self.steps * self.batch_sequences
