"""What `almr plan` says of a trial: its memory, part by part, and its FLOPs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sweep.planning.plan import flops_per_token
from sweep.planning.requirements import TrialMemory
from sweep.study import Study
from sweep.study.sizes.known import GPUS
from sweep.study.sizes.shape import Shape


def memory(content: dict[str, Any], shape: Shape) -> dict[str, float]:
    """Planned bytes of a trial on a GPU at its micro-batch, by part."""
    on_gpu = content | {"resources": {"gpus_per_node": 1}}
    planned = TrialMemory(shape, Study.model_validate(on_gpu))
    return {name: float(size) for name, size in asdict(planned.at(planned.micro_batch)).items()}


def trial_bytes(content: dict[str, Any], shape: Shape) -> float:
    return sum(memory(content, shape).values())


def mfu(shape: Shape, sequence_length: int, tokens_per_second: float, device_name: str) -> float | None:
    """Model FLOP utilisation, by the FLOPs and the published peaks of `almr plan`; None on a device of unknown peak."""
    peak = next((gpu.flops for name, gpu in GPUS.items() if name.split("-")[0] in device_name), None)
    return None if peak is None else flops_per_token(shape, sequence_length) * tokens_per_second / peak
