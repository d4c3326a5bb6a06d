"""The workers of one trial: which of them this process is, and how they add up and agree.

A trial alone has no process group, and then nothing here costs anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from sweep.study.errors import InputError
from sweep.study.study import Study
from trainers.workers.device import open_device


@dataclass(frozen=True)
class WorkerGroup:
    """Worker `rank` of `size`, on `device`. `sharded`: weights are spread over the workers of a process group."""

    rank: int
    size: int
    device: torch.device
    sharded: bool = False

    @property
    def first(self) -> bool:
        """Whether this is the worker that writes."""
        return self.rank == 0

    def rows(self, sequences: int) -> slice:
        """This worker's part of a global batch, which the study made divisible."""
        each = sequences // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def sum(self, *values: float) -> list[float]:
        """Of every worker's values, in float64; the same bits on all of them."""
        return self._reduced(values, distributed.ReduceOp.SUM)

    def max(self, *values: float) -> list[float]:
        return self._reduced(values, distributed.ReduceOp.MAX)

    def told(self, value: Any) -> Any:
        """The first worker's value, on all of them."""
        if self.size == 1:
            return value
        told = [value]
        distributed.broadcast_object_list(told, src=0)
        return told[0]

    def wait(self) -> None:
        if self.size > 1:
            distributed.barrier()

    def _reduced(self, values: tuple[float, ...], how: Any) -> list[float]:
        if self.size == 1:
            return list(values)
        reduced = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(reduced, how)
        numbers: list[float] = reduced.tolist()
        return numbers


ALONE = WorkerGroup(0, 1, torch.device("cpu"))


@contextmanager
def opened(study: Study) -> Iterator[WorkerGroup]:
    """This process as a worker of the study's trials. A gang's is one of `torchrun`, which its environment tells.

    Raises InputError where the study asks for what this process cannot be.
    """
    device = open_device(study.resources)
    if not study.resources.worker_group and not shards_alone(study):
        yield WorkerGroup(0, 1, device)
        return
    _join(study, device)
    try:
        yield WorkerGroup(distributed.get_rank(), distributed.get_world_size(), device, sharded=True)
    finally:
        distributed.destroy_process_group()


def shards_alone(study: Study) -> bool:
    """Whether a single worker uses FSDP2 too: for its bfloat16 policy, which keeps one layer's copy of the weights
    where autocast keeps all of them, and the norms and residuals in bfloat16 where autocast has float32.
    """
    return bool(study.resources.gpus) and study.training.precision == "bfloat16"


def _join(study: Study, device: torch.device) -> None:
    backend, workers = "nccl" if device.type == "cuda" else "gloo", study.resources.workers
    timeout, bound = timedelta(minutes=study.resources.hang_minutes), device if device.type == "cuda" else None
    if workers == 1:
        store = distributed.HashStore()  # type: ignore[attr-defined]
        distributed.init_process_group(backend, store=store, rank=0, world_size=1, timeout=timeout, device_id=bound)
        return
    if os.environ.get("WORLD_SIZE") != str(workers):
        raise InputError(
            f"resources: {workers} workers a trial, this process is one of {os.environ.get('WORLD_SIZE', 1)}: a gang "
            f"is started by almr run, or by torchrun with as many processes"
        )
    distributed.init_process_group(backend, timeout=timeout, device_id=bound)
