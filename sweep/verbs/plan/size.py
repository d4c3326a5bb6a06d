"""Memory, FLOPs and disk of a plan, as lines and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sweep.planning.disk import Disk
from sweep.planning.plan import StudyPlan
from sweep.planning.trial_memory import TrialMemoryModel
from sweep.study import numbers
from sweep.study.sizes.memory import USABLE


def size_lines(planned: StudyPlan) -> list[str]:
    lines = [_model(planned)] if planned.shape and planned.flops else []
    if planned.layout:
        lines += _memory(planned.layout)
    return [*lines, _disk(planned.disk)]


def _model(planned: StudyPlan) -> str:
    assert planned.shape
    assert planned.flops
    token = planned.flops / planned.tokens_per_trial
    return (
        f"model: {planned.shape.parameters:,} parameters; {token / 1e9:,.1f} GFLOPs per token, "
        f"{planned.flops:.2e} FLOPs per trial"
    )


def _memory(layout: TrialMemoryModel) -> list[str]:
    memory = layout.memory(layout.micro_batch)
    parts = " + ".join(f"{name} {size / 1e9:.1f}" for name, size in asdict(memory).items())
    where = f"micro-batch of {layout.micro_batch} x {layout.study.training.sequence_length:,} tokens"
    lines = [f"memory per GPU: {memory.total / 1e9:.1f} GB (estimate, {where})", f"  = {parts}"]
    if have := layout.study.resources.gpu_bytes:
        fits = layout.largest_fitting(have)
        largest = f"{fits} sequences" if fits > 1 else "1 sequence" if fits else "none"
        usable = f"{numbers.percent(USABLE)} of {have / 1e9:.0f} GB"
        lines.append(
            f"  largest micro-batch that fits in {usable}: {largest} (of {layout.largest_micro_batch} per GPU and step)"
        )
    return lines


def _disk(disk: Disk) -> str:
    parts = ", ".join(f"{name} {size_text(size)}" for name, size in asdict(disk).items() if size != 0)
    whole = size_text(disk.total) if disk.total is not None else "not known"
    return f"disk: at most {whole} ({parts})"


def size_text(size: float | None) -> str:
    return "not known" if size is None else numbers.size(size)


def size_json(planned: StudyPlan) -> dict[str, Any]:
    """Bytes and FLOPs; None where they are not known."""
    layout = planned.layout
    have = layout.study.resources.gpu_bytes if layout else None
    memory = layout.memory(layout.micro_batch) if layout else None
    return {
        "parameters": planned.shape.parameters if planned.shape else None,
        "flops_per_trial": planned.flops,
        "micro_batch_sequences": layout.micro_batch if layout else None,
        "largest_micro_batch_sequences": layout.largest_fitting(have) if layout and have else None,
        "memory_bytes": asdict(memory) | {"total": memory.total} if memory else None,
        "disk_bytes": asdict(planned.disk) | {"total": planned.disk.total},
    }
