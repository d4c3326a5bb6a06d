"""What `almr plan` says of a trial's memory, part by part."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sweep.planning.requirements import TrialMemory
from sweep.study import Study
from sweep.study.sizes.shape import Shape


def memory(content: dict[str, Any], shape: Shape) -> dict[str, float]:
    """Planned bytes of a trial on a GPU at its micro-batch, by part."""
    on_gpu = content | {"resources": {"gpus_per_node": 1}}
    planned = TrialMemory(shape, Study.model_validate(on_gpu))
    return {name: float(size) for name, size in asdict(planned.at(planned.micro_batch)).items()}


def trial_bytes(content: dict[str, Any], shape: Shape) -> float:
    return sum(memory(content, shape).values())
