"""Memory, FLOPs and disk of a plan, as lines and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sweep.planning.disk import Disk
from sweep.planning.plan import StudyPlan
from sweep.planning.requirements import TrialMemory
from sweep.study import numbers
from sweep.study.sizes.shape import USABLE


def size_lines(planned: StudyPlan) -> list[str]:
    lines = [_model(planned)] if planned.shape and planned.flops else []
    if planned.trial_memory:
        lines += _memory(planned.trial_memory)
    return [*lines, _disk(planned.disk)]


def _model(planned: StudyPlan) -> str:
    assert planned.shape
    assert planned.flops
    token = planned.flops / planned.tokens_per_trial
    return (
        f"model: {planned.shape.parameters:,} parameters; {numbers.quantity(token / 1e9)} GFLOPs per token, "
        f"{planned.flops:.2e} FLOPs per trial"
    )


def _memory(trial_memory: TrialMemory) -> list[str]:
    memory, moment = trial_memory.at(trial_memory.micro_batch), trial_memory.moment(trial_memory.micro_batch).name
    parts = " + ".join(f"{name} {size / 1e9:.1f}" for name, size in asdict(memory).items())
    where = f"micro-batch of {trial_memory.micro_batch:,} x {trial_memory.study.training.sequence_length:,} tokens"
    lines = [f"memory per GPU: {memory.total / 1e9:.1f} GB (estimate, {where})", f"  = {parts}", f"  most in: {moment}"]
    if have := trial_memory.study.resources.gpu_bytes:
        fits = trial_memory.largest_fitting(have)
        largest = f"{fits:,} sequences" if fits > 1 else "1 sequence" if fits else "none"
        usable = f"{numbers.percent(USABLE)} of {have / 1e9:.0f} GB"
        own = trial_memory.largest_micro_batch
        lines.append(f"  largest micro-batch that fits in {usable}: {largest} (of {own:,} per GPU and step)")
    return lines


def _disk(disk: Disk) -> str:
    parts = ", ".join(f"{name.replace('_', ' ')} {size_text(size)}" for name, size in disk.parts.items() if size != 0)
    unknown = "not known before it is prepared" if None in disk.prepared.values() else "not known"
    whole = f"at most {size_text(disk.total)}" if disk.total is not None else unknown
    measured = f"; {size_text(sum(filter(None, disk.prepared.values())))} of it is prepared, as measured"
    return f"disk: {whole} ({parts})" + (measured if disk.measured else "")


def size_text(size: float | None) -> str:
    return "not known" if size is None else numbers.size(size)


def size_json(planned: StudyPlan) -> dict[str, Any]:
    """Bytes and FLOPs; None where they are not known."""
    trial_memory = planned.trial_memory
    have = trial_memory.study.resources.gpu_bytes if trial_memory else None
    memory = trial_memory.at(trial_memory.micro_batch) if trial_memory else None
    return {
        "parameters": planned.shape.parameters if planned.shape else None,
        "flops_per_trial": planned.flops,
        "micro_batch_sequences": trial_memory.micro_batch if trial_memory else None,
        "largest_micro_batch_sequences": trial_memory.largest_fitting(have) if trial_memory and have else None,
        "memory_bytes": asdict(memory) | {"total": memory.total} if memory else None,
        "disk_bytes": planned.disk.parts | {"total": planned.disk.total},
        "disk_measured": planned.disk.measured,
    }
