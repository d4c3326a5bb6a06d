"""The device of a trial: its peak speed, where that is published, and its memory."""

from __future__ import annotations

import ctypes
import os
import resource

import torch

from sweep.study import InputError
from sweep.study.sections.resources import Resources
from sweep.study.sizes.known import GPUS

MIB = 2**20
# Of glibc's malloc, by the numbers in its malloc.h: the free memory that is kept at the end of a heap, by how
# much it grows a heap, and the size from which on a block is a mapping of its own, as the tensors of larger models are.
KEPT_BYTES = {-1: 512 * MIB, -2: 64 * MIB, -3: 32 * MIB}


def open_device(resources: Resources) -> torch.device:
    """This worker's device: its GPU where the study has GPUs, else the CPU with its number of threads.

    Raises InputError where torch sees no GPU.
    """
    if not resources.gpus:
        torch.set_num_threads(resources.cpus_per_worker)
        keep_freed_memory()
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError(
            "resources.gpus_per_node: torch sees no GPU on this node: install a torch build with CUDA, or write 0"
        )
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) if resources.worker_group else 0)
    torch.cuda.set_device(device)
    torch.cuda.reset_peak_memory_stats()
    return device


def keep_freed_memory() -> None:
    """Have the C library keep what a training step frees, up to half a GiB, for the next step.

    Otherwise it gives the memory back to the kernel after every operation and gets it back page by page, which takes
    15 % of the processor time of a small model's step. Where the C library is not glibc nothing changes.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        for parameter, size in KEPT_BYTES.items():
            mallopt(parameter, size)


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def mfu(flops_per_token: float, tokens_per_second: float, device: torch.device, workers: int = 1) -> float | None:
    """Model FLOP utilisation of all workers together; None on a device of unknown peak."""
    peak = next((gpu.flops for name, gpu in GPUS.items() if name.split("-")[0] in device_name(device)), None)
    return None if peak is None else flops_per_token * tokens_per_second / (peak * workers)


def peak_memory_bytes(device: torch.device) -> int:
    """The peak memory of this trial on a GPU; on a CPU that of the worker process, which may run several trials."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
