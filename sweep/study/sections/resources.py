"""`resources`, `execution` and `tracking`: what a trial takes of the cluster, and how it runs there."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from sweep.study.fields import Count, Finite, Natural, Positive, Section
from sweep.study.sizes.known import GPUS, Gpu, GpuName, gpu_memory

SQLITE = "sqlite:///"  # before a relative path; before an absolute one there is one more slash


class Resources(Section):
    """What one trial takes of the cluster.

    A trial has one worker process per GPU; without GPUs, `processes` on each node.
    """

    nodes: Count = 1
    """Machines that one trial takes."""
    gpus_per_node: Natural = 0
    """GPUs that one trial takes on each machine. 0: train on CPUs."""
    cpus_per_gpu: Count = 8
    """CPU cores reserved with each GPU."""
    processes: Count = 1
    """Without GPUs: worker processes on each machine."""
    cpus: Count = 1
    """Without GPUs: CPU cores of each worker process."""
    concurrent: Count | None = None
    """Most trials that run in parallel. Default: as many as fit on the cluster."""
    retries: Natural = 1
    """How often a failed trial is tried again."""
    hang_minutes: Positive = 30.0
    """Kill and retry a trial without a heartbeat for this many minutes."""
    tokens_per_second: Positive | None = None
    """Training speed of one trial in tokens/s, for the hours in `almr plan`. Default: from `gpu` and `mfu`."""
    gpu: GpuName | None = None
    """Kind of GPU, such as H100-80GB, for the hours and memory in `almr plan`. Default: not known."""
    gpu_gigabytes: Positive | None = None
    """Memory of one GPU in GB, for `almr plan`. Default: that of `gpu`."""
    mfu: Annotated[Finite, Field(gt=0, le=1)] | None = None
    """Model FLOP utilisation, 0 to 1, for the hours in `almr plan`. Default: the nearest published figure."""
    price_per_gpu_hour: Positive | None = None
    """Price of one GPU for an hour, in any currency, for the trials' cost. Default: `launch`'s, if its GPU is alike."""

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
    def worker_group(self) -> bool:
        """Whether a trial has several workers, which train together as a group."""
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
        """Memory of one GPU: as given, else that of `gpu`."""
        return gpu_memory(self.gpu, self.gpu_gigabytes)


class Execution(Section):
    """Settings that change the speed and memory of a trial, and its numbers only by rounding.

    A worker group shards weights, gradients and optimizer states over its workers (FSDP2).
    """

    activation_checkpointing: Literal["none", "selective", "full"] = "none"
    """Recompute activations in the backward pass to save memory: never, for some operations, or for whole layers."""
    attention: Literal["sdpa", "flex_attention", "flash_attention_2", "eager"] = "sdpa"
    """Attention kernel, as in transformers. With `document_masking`, `sdpa` and `eager` take a dense mask."""
    cross_entropy: Literal["torch", "liger"] = "torch"
    """Loss kernel. `liger` is fused with the output layer, and needs the extra `kernels`."""
    compile: bool = False
    """Compile the model with torch.compile."""
    reshard_after_forward: bool = True
    """Worker groups: free a layer's gathered weights after its forward pass. false: faster, more memory."""
    checkpoint_minutes: Positive | None = None
    """Minutes between checkpoints, from which a preempted trial continues. Default: none are written."""

    @property
    def masks_densely(self) -> bool:
        """Whether documents are masked by a matrix of sequence length squared: other kernels know where they end."""
        return self.attention in ("sdpa", "eager")


def _sqlite_file(url: str) -> str:
    """Of the databases that Optuna takes, the one that needs no server."""
    path = url.removeprefix(SQLITE)
    if not url.startswith(SQLITE) or not path or ":memory:" in path:
        raise ValueError("write a file of SQLite, such as sqlite:///optuna.db")
    return url


class Tracking(Section):
    """Where training curves go, besides the `metrics.jsonl` of each trial."""

    tensorboard: bool = True
    """Write TensorBoard files into the trial's folder."""
    wandb: str | None = None
    """Weights & Biases project. Default: none."""
    mlflow: str | None = None
    """MLflow tracking URI; a path is relative to the study file. Default: none."""
    optuna: Annotated[str, AfterValidator(_sqlite_file)] | None = None
    """Optuna storage that is kept up to date while the run goes on, such as `sqlite:///optuna.db`; a path is relative
    to the study file. Default: none."""
