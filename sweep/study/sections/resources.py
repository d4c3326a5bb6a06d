"""What a trial takes of the cluster, and how it is computed there. A leaf: standard library and pydantic only."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from sweep.study.fields import Count, Finite, Natural, Positive, Schema
from sweep.study.sizes.gpus import GPUS, Gpu


class Resources(Schema):
    """What one trial takes, and how many run at once (None: as many as fit). `tokens_per_second`: of one trial.

    A trial is `nodes` x (GPUs of a node) worker processes; without GPUs, `nodes` x `processes`, each of `cpus` cores.
    More than one worker makes a gang. A trial that shows no sign of life for `hang_minutes` is killed and tried again.

    `gpu` (a name of sweep/study/sizes/gpus.py), `mfu` (model FLOP utilisation, a share) and `gpu_gigabytes` are for
    `almr plan` alone: its hours where no `tokens_per_second` is stated, and what fits into memory.
    """

    nodes: Count = 1
    gpus_per_node: Natural = 0
    cpus_per_gpu: Count = 8
    processes: Annotated[Count, Field(description="worker processes a node, of a trial without GPUs")] = 1
    cpus: Annotated[Count, Field(description="cores of a worker, of a trial without GPUs")] = 1
    concurrent: Count | None = None
    retries: Natural = 1
    hang_minutes: Positive = 30.0
    tokens_per_second: Positive | None = None
    gpu: str | None = None
    gpu_gigabytes: Positive | None = None
    mfu: Annotated[Finite, Field(gt=0, le=1)] | None = None

    @field_validator("gpu")
    @classmethod
    def _listed_gpu(cls, value: str | None) -> str | None:
        if value is not None and value not in GPUS:
            raise ValueError(f"known are {', '.join(GPUS)}; else give gpu_gigabytes and tokens_per_second instead")
        return value

    @model_validator(mode="after")
    def _one_kind_of_worker(self) -> Self:
        if self.gpus_per_node and self.processes > 1:
            raise ValueError("processes: a trial with GPUs has one worker a GPU: remove processes")
        if self.gpus_per_node and self.cpus > 1:
            raise ValueError("cpus: a trial with GPUs takes cpus_per_gpu for each: write that instead")
        return self

    @property
    def workers_per_node(self) -> int:
        return self.gpus_per_node or self.processes

    @property
    def workers(self) -> int:
        return self.nodes * self.workers_per_node

    @property
    def gang(self) -> bool:
        return self.workers > 1

    @property
    def cpus_per_worker(self) -> int:
        return self.cpus_per_gpu if self.gpus_per_node else self.cpus

    @property
    def cpus_per_node(self) -> int:
        return self.workers_per_node * self.cpus_per_worker

    @property
    def gpus(self) -> int:
        return self.nodes * self.gpus_per_node

    @property
    def known_gpu(self) -> Gpu | None:
        return GPUS[self.gpu] if self.gpu else None

    @property
    def gpu_bytes(self) -> float | None:
        """Memory of one GPU: as stated, else of the GPU's kind."""
        if self.gpu_gigabytes:
            return self.gpu_gigabytes * 1e9
        return self.known_gpu.bytes if self.known_gpu else None


class Execution(Schema):
    """How a trial is computed: what changes its speed and memory, and its numbers by rounding alone.

    A gang shards weights, gradients and optimizer over its workers (FSDP2). `checkpoint_minutes`: how often a trial
    saves what it needs to go on after a preemption; None never.
    """

    activation_checkpointing: Literal["none", "selective", "full"] = "none"
    attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa"
    cross_entropy: Annotated[
        Literal["torch", "liger"], Field(description="liger: fused with the output layer, of the extra `kernels`")
    ] = "torch"
    compile: bool = False
    reshard_after_forward: bool = True
    checkpoint_minutes: Positive | None = None


class Tracking(Schema):
    """Where a trial's curves go beside its `metrics.jsonl`: TensorBoard files in its folder, a W&B project, an MLflow
    tracking URI.
    """

    tensorboard: bool = True
    wandb: str | None = None
    mlflow: str | None = None
