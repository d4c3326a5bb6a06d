"""The workers of one trial: which of them this process is, and how they reduce and broadcast values.

A trial of one worker has no process group, and then nothing here communicates.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from sweep.study import InputError, Study
from sweep.study.sections.resources import Resources
from trainers.workers.device import open_device
from trainers.workers.heartbeat import Heartbeat


@dataclass(frozen=True)
class WorkerGroup:
    """Worker `rank` of `size`, on `device`. `sharded`: weights are spread over the workers of a process group.

    `heartbeat` shows that the trial makes progress; it is called after every step and before whatever takes long.
    """

    rank: int
    size: int
    device: torch.device
    sharded: bool = False
    heartbeat: Callable[[], None] = lambda: None

    @property
    def first(self) -> bool:
        """Whether this is the worker that writes."""
        return self.rank == 0

    def rows(self, sequences: int) -> slice:
        """This worker's rows of a global batch, whose size is a multiple of the number of workers."""
        each = sequences // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def sum(self, *values: float) -> list[float]:
        """The sums of all workers' values, in float64; the same bits on all workers."""
        return self._reduced(values, distributed.ReduceOp.SUM)

    def max(self, *values: float) -> list[float]:
        """The maxima of all workers' values."""
        return self._reduced(values, distributed.ReduceOp.MAX)

    def broadcast(self, value: Any) -> Any:
        """The first worker's value, on all workers."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def wait(self) -> None:
        """Wait until every worker is here."""
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
def opened(study: Study, folder: Path) -> Iterator[WorkerGroup]:
    """This process as a worker of a trial in `folder`. Of several workers it is one of `torchrun`, as the environment
    variables say. The first one's heartbeat is written; the others end with it.

    Raises InputError where this process is not a worker of the kind that the study states.
    """
    device, heartbeat = open_device(study.resources), Heartbeat(folder).signal
    if not study.resources.worker_group and not shards_alone(study):
        yield WorkerGroup(0, 1, device, heartbeat=heartbeat)
        return
    _join(study.resources, device)
    rank, size = distributed.get_rank(), distributed.get_world_size()
    try:
        yield WorkerGroup(rank, size, device, sharded=True, heartbeat=ALONE.heartbeat if rank else heartbeat)
    finally:
        distributed.destroy_process_group()


def shards_alone(study: Study) -> bool:
    """Whether a single worker uses FSDP2 too, for its bfloat16 policy: it holds a bfloat16 copy of one layer's weights
    where autocast holds all of them, and computes norms and residuals in bfloat16 where autocast uses float32.
    """
    return bool(study.resources.gpus) and study.training.precision == "bfloat16"


def _join(resources: Resources, device: torch.device) -> None:
    backend, workers = "nccl" if device.type == "cuda" else "gloo", resources.workers
    timeout, bound = timedelta(minutes=resources.hang_minutes), device if device.type == "cuda" else None
    if workers == 1:
        store = distributed.HashStore()  # type: ignore[attr-defined]
        distributed.init_process_group(backend, store=store, rank=0, world_size=1, timeout=timeout, device_id=bound)
        return
    if (started := os.environ.get("WORLD_SIZE", "1")) != str(workers):
        raise InputError(
            f"resources: a trial has {workers} workers, and this process was started as one of {started}: start it "
            f"with almr run, or with torchrun and {workers} processes"
        )
    distributed.init_process_group(backend, timeout=timeout, device_id=bound)
