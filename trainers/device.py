"""What the trial runs on: its device, its peak speed where that is published, its memory."""

from __future__ import annotations

import resource

import torch

# Dense bf16 peak FLOP/s by the device's name, from NVIDIA's data sheets: MFU is only stated where the peak is known.
PEAK_FLOPS = {"A100": 312e12, "H100": 989e12, "H200": 989e12, "B200": 2250e12}


def open_device(cpus: int) -> torch.device:
    """The trial's device; on a CPU, with `cpus` threads."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.device("cuda")
    torch.set_num_threads(cpus)
    return torch.device("cpu")


def device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def mfu(parameters: int, tokens_per_second: float | None, gpus: int) -> float | None:
    """Model FLOP utilisation, at 6 FLOPs per parameter and token (Kaplan et al., arXiv 2001.08361); None on a CPU."""
    peak = next((flops for name, flops in PEAK_FLOPS.items() if name in device_name()), None)
    if tokens_per_second is None or peak is None or not gpus:
        return None
    return 6 * parameters * tokens_per_second / (peak * gpus)


def peak_memory_bytes() -> int:
    """On a GPU of this trial; on a CPU of the worker process, which outlives trials."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
