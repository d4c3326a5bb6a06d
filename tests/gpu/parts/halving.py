"""Out of memory: a trial that runs out halves its micro-batch, starts again, and has the losses of one that did not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from tests.gpu.setting import TOLERANCE, Setting, gigabytes

SHARE = 0.7  # of the memory that the trial took without a limit
MOST_ON_CPU = 3  # sequences at once, where a CPU has no memory of its own to limit


def measure(setting: Setting, write: Callable[..., None]) -> None:
    content = setting.content("enough-memory", steps=setting.of(6, 3), sequences=setting.of(16, 8))
    free, steps = setting.trained(content)
    assert free.peak_memory_bytes
    with _limited(setting, SHARE * free.peak_memory_bytes) as limit:
        small, halved_steps = setting.trained(content | {"name": "too-little-memory"})
    micro = [record.provenance["execution"]["micro_batch_sequences"] for record in (free, small)]
    apart = max(abs(a["loss"] - b["loss"]) for a, b in zip(steps, halved_steps, strict=True))
    assert free.loss
    assert small.loss
    held_out = abs((free.loss.additional or 0) - (small.loss.additional or 0))
    fault = None
    if micro[1] >= micro[0]:
        fault = "the micro-batch was not halved"
    elif not max(apart, held_out) < TOLERANCE:
        fault = "the losses differ"
    values = {
        "sequences at once": f"{micro[0]}, then {micro[1]}",
        "peak memory without limit, GB": gigabytes(free.peak_memory_bytes),
        "limit": limit,
        "peak under the limit, GB": gigabytes(small.peak_memory_bytes or 0),
        "largest difference of a training loss, nats": apart,
        "of the held-out loss": held_out,
    }
    write("a limit on memory", values, fault)


@contextlib.contextmanager
def _limited(setting: Setting, size: float) -> Iterator[str]:
    """Limit memory while the block runs; yields the limit as text."""
    if setting.gpu:
        import torch

        from trainers.loop.out_of_memory import free_memory

        free_memory()
        torch.cuda.set_per_process_memory_fraction(size / torch.cuda.get_device_properties(0).total_memory)
        try:
            yield f"{gigabytes(size)} GB"
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        return
    with _raising():
        yield f"{MOST_ON_CPU} sequences at once (injected)"


@contextlib.contextmanager
def _raising() -> Iterator[None]:
    import torch

    from trainers.model.token_loss import TokenLoss

    take = TokenLoss.sum

    def limited(self: Any, tokens: torch.Tensor, counted: int | None = None) -> torch.Tensor:
        if self.model.training and len(tokens) > MOST_ON_CPU:
            raise torch.OutOfMemoryError("injected")
        return take(self, tokens, counted)

    TokenLoss.sum = limited  # type: ignore[method-assign]
    try:
        yield
    finally:
        TokenLoss.sum = take  # type: ignore[method-assign]
