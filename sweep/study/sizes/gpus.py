"""GPUs whose speed and memory are published."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import AfterValidator


class Gpu(NamedTuple):
    """`flops`: dense bfloat16 peak, FLOP/s, without sparsity. `bytes`: memory as sold, decimal gigabytes."""

    flops: float
    bytes: float


# NVIDIA's data sheets of the SXM modules and of the L40S card: nvidia.com/en-us/data-center/{a100,h100,h200,l40s,hgx}.
GPUS = {
    "A100-40GB": Gpu(312e12, 40e9),
    "A100-80GB": Gpu(312e12, 80e9),
    "L40S-48GB": Gpu(362e12, 48e9),
    "H100-80GB": Gpu(989e12, 80e9),
    "H200-141GB": Gpu(989e12, 141e9),
    "B200-180GB": Gpu(2250e12, 180e9),
}


def gpu_memory(name: str | None, gigabytes: float | None) -> float | None:
    """Bytes of memory of one GPU: as given, else as sold under this name; None where neither is given."""
    if gigabytes:
        return gigabytes * 1e9
    return GPUS[name].bytes if name else None


def _known(name: str) -> str:
    if name not in GPUS:
        raise ValueError(f"not a known GPU; write one of {', '.join(GPUS)}, or remove it and give gpu_gigabytes")
    return name


GpuName = Annotated[str, AfterValidator(_known)]
