"""Memory that a trial's loop really takes on a GPU, beside what `almr plan` says: weights, moments, and at its peak."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sweep.study.sections.resources import Execution
from sweep.study.sizes.known import KNOWN
from sweep.study.sizes.shape import Shape
from tests.gpu import planned
from tests.gpu.parts.speed import TINY, planned_content
from tests.gpu.runner import one_line
from tests.gpu.setting import Setting, gigabytes

STEPS = 2
SMALL, ONE_B = "HuggingFaceTB/SmolLM2-135M", "meta-llama/Llama-3.2-1B"
# model, sequences at once (of 2,048 and 8,192 tokens), moments, activation checkpointing
CASES: tuple[tuple[str, int, int, str, str], ...] = (
    (SMALL, 2048, 8, "float32", "none"),
    (SMALL, 2048, 8, "float32", "selective"),
    (SMALL, 2048, 8, "float32", "full"),
    (SMALL, 8192, 4, "bfloat16", "none"),
    (ONE_B, 8192, 1, "float32", "none"),
    (ONE_B, 8192, 2, "bfloat16", "full"),
)


def measure(setting: Setting, write: Callable[..., None]) -> None:
    import torch

    from tests.gpu import ways
    from trainers.loop.out_of_memory import free_memory

    device = torch.device("cuda", 0) if setting.gpu else torch.device("cpu")
    with ways.worker(device) as workers:
        for model, length, micro, moments, checkpointing in CASES:
            shape = KNOWN[model].shape if setting.gpu else Shape.model_validate(TINY)
            length = length if setting.gpu else length // 64
            name = f"{model.split('/')[1]}, {micro} x {length}, moments {moments}, checkpointing {checkpointing}"
            try:
                execution = Execution(activation_checkpointing=checkpointing)  # type: ignore[arg-type]
                work = ways.Work(shape, length, micro, micro, STEPS, moments, execution)
                said = planned.memory(planned_content((micro, micro, STEPS, moments, checkpointing), length), shape)
                write(name, _compared(said, _used(work, workers)))
            except Exception as error:
                write(name, failed=f"failed: {one_line(error)}")
            free_memory()  # outside of the handler: an exception holds the tensors of its pass


def _used(work: Any, workers: Any) -> dict[str, float]:
    """Bytes after loading, after the steps, and at the peak in between."""
    import torch

    from tests.gpu import ways

    gpu, used = workers.device.type == "cuda", dict[str, float]()
    allocated = torch.cuda.memory_allocated if gpu else lambda: 0.0

    def at(moment: str) -> None:
        used[moment] = allocated()

    if gpu:
        torch.cuda.reset_peak_memory_stats()
    at("before")
    learner = ways.learner(work, workers, at)
    for _ in learner.train(ways.batches(work, workers.device), lambda step: 1.0, lambda step: False):
        pass
    at("trained")
    return used | {"peak": torch.cuda.max_memory_allocated() if gpu else 0.0}


def _compared(said: dict[str, float], used: dict[str, float]) -> dict[str, Any]:
    known = bool(used["peak"])

    def both(plan: float, measured: float) -> str:
        return f"{gigabytes(plan)} / {gigabytes(measured)}" if known else f"{gigabytes(plan)} / -"

    moments = used["trained"] - used["loaded"]
    values: dict[str, Any] = {
        "weights, GB planned / measured": both(said["weights"], used["loaded"] - used["before"]),
        "moments": both(said["optimizer"], moments),
        "peak": both(sum(said.values()), used["peak"] - used["before"]),
    }
    if known:
        values["planned / measured"] = round(sum(said.values()) / (used["peak"] - used["before"]), 3)
    return values | {"planned": ", ".join(f"{name} {gigabytes(size)}" for name, size in said.items())}
