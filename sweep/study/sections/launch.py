"""A study's `launch`: the one large run that the winner is exported to. A leaf: standard library and pydantic only."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from sweep.study.fields import Count, Natural, Pattern, Positive, Schema, listed, nearest_multiple
from sweep.study.sections.transfer import TransferRule
from sweep.study.sizes.gpus import GPUS
from sweep.study.sizes.shape import Shape

Format = Literal["llamafactory", "torchtitan", "megatron", "axolotl", "native"]


class Evaluation(Schema):
    """Held-out text of each language for the launch: JSON Lines files, their text in the field `text`."""

    original: Pattern
    additional: Pattern


class Launch(Schema):
    """The one large run that the winner is exported to.

    `gpu` (a name of sweep/study/sizes/gpus.py) or `gpu_gigabytes`, and `shape` where the model's is not known, let the
    bundle choose the parallelism and check the memory; `tensor_parallel`, `pipeline_parallel` and
    `context_parallel` set it.
    Without GPUs the run has one process a node. `image` and `volume_claim` are for Kubernetes: the container image with
    the trainer, and the claim on which the bundle and the data lie. Without `transfer` the rule is `direct`, with a
    warning.
    """

    model: str
    tokens: Count
    global_batch_tokens: Count
    sequence_length: Count
    nodes: Count = 1
    gpus_per_node: Natural = 8
    micro_batch_sequences: Count = 1
    checkpoints: Annotated[Count, Field(description="how many checkpoints the run writes")] = 20
    evaluations: Annotated[Count, Field(description="how often the run measures its held-out losses")] = 20
    evaluation: Evaluation | None = None
    gpu: str | None = None
    gpu_gigabytes: Positive | None = None
    shape: Shape | None = None
    tensor_parallel: Count | None = None
    pipeline_parallel: Count | None = None
    context_parallel: Count | None = None
    image: str | None = None
    volume_claim: str | None = None
    formats: Annotated[tuple[Format, ...], BeforeValidator(listed), Field(min_length=1)] = ("llamafactory",)
    transfer: TransferRule | None = None

    @field_validator("gpu")
    @classmethod
    def _listed_gpu(cls, value: str | None) -> str | None:
        if value is not None and value not in GPUS:
            raise ValueError(f"known are {', '.join(GPUS)}; else give gpu_gigabytes instead")
        return value

    @property
    def gpu_bytes(self) -> float | None:
        """Memory of one GPU: as stated, else of the GPU's kind."""
        if self.gpu_gigabytes:
            return self.gpu_gigabytes * 1e9
        return GPUS[self.gpu].bytes if self.gpu else None

    @property
    def processes_per_node(self) -> int:
        return self.gpus_per_node or 1

    @property
    def processes(self) -> int:
        return self.nodes * self.processes_per_node

    @property
    def batch_sequences(self) -> int:
        return self.global_batch_tokens // self.sequence_length

    @property
    def tokens_per_pass(self) -> int:
        """Tokens that all GPUs together take in one micro-batch each."""
        return self.processes * self.micro_batch_sequences * self.sequence_length

    @model_validator(mode="after")
    def _whole_batches(self) -> Self:
        if self.global_batch_tokens % self.tokens_per_pass:
            nearest = nearest_multiple(self.global_batch_tokens, self.tokens_per_pass)
            raise ValueError(
                f"global_batch_tokens {self.global_batch_tokens} is not a multiple of nodes x gpus_per_node x "
                f"micro_batch_sequences x sequence_length = {self.tokens_per_pass}: write {nearest}, "
                f"or change one of these"
            )
        if self.tokens < self.global_batch_tokens:
            raise ValueError(
                f"tokens {self.tokens} is less than one global batch: write {self.global_batch_tokens} or more"
            )
        return self

    @model_validator(mode="after")
    def _whole_copies(self) -> Self:
        """A copy of the model takes tensor x pipeline x context GPUs."""
        for name, of in (("tensor_parallel", self.processes_per_node), ("pipeline_parallel", self.nodes)):
            if (degree := getattr(self, name)) and self.processes % degree:
                raise ValueError(f"{name} {degree} does not divide {self.processes} GPUs: write {of}, or 1")
        copy = (self.tensor_parallel or 1) * (self.pipeline_parallel or 1) * (self.context_parallel or 1)
        if self.processes % copy:
            raise ValueError(
                f"tensor_parallel x pipeline_parallel x context_parallel = {copy} does not divide {self.processes} "
                f"GPUs: lower one of them"
            )
        return self
