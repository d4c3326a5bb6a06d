"""The device of a trial: its peak speed, where that is published, and its memory."""

from __future__ import annotations

import os
import resource

import torch

from sweep.study import InputError
from sweep.study.sections.resources import Resources
from sweep.study.sizes.known import GPUS
from trainers.workers import process_memory


def open_device(resources: Resources) -> torch.device:
    """This worker's device: its GPU where the study has GPUs, else the CPU with its number of threads.

    Raises InputError where torch sees no GPU.
    """
    if not resources.gpus:
        torch.set_num_threads(resources.cpus_per_worker)
        process_memory.keep_freed()
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError(
            "resources.gpus_per_node: torch sees no GPU on this node: install a torch build with CUDA, or write 0"
        )
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) if resources.worker_group else 0)
    torch.cuda.set_device(device)
    torch.cuda.reset_peak_memory_stats()
    return device


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
