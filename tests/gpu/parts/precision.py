"""The same trial in float32 and in bfloat16, over 50 steps: how far the losses part, and what bfloat16 is worth."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from tests.gpu.setting import Setting

STEPS, CPU_STEPS = 50, 10
MOST_APART = 0.1  # nats per token, of the held-out loss


def measure(setting: Setting, write: Callable[..., None]) -> None:
    results = {}
    for precision in ("float32", "bfloat16"):
        steps, sequences = setting.of((STEPS, 4), (CPU_STEPS, 2))
        content = setting.content(f"in-{precision}", steps=steps, sequences=sequences, precision=precision)
        results[precision] = setting.trained(content)
    (exact, exact_steps), (mixed, mixed_steps) = results["float32"], results["bfloat16"]
    apart = [b["loss"] - a["loss"] for a, b in zip(exact_steps, mixed_steps, strict=True)]
    assert exact.loss
    assert mixed.loss
    held_out = (mixed.loss.additional or 0) - (exact.loss.additional or 0)
    values = {
        "mean difference of the training loss, nats": statistics.mean(apart),
        "largest": max(apart, key=abs),
        "held-out Chinese, float32": exact.loss.additional,
        "bfloat16": mixed.loss.additional,
        "tokens/s, float32": exact.tokens_per_second,
        "tokens/s, bfloat16": mixed.tokens_per_second,
    }
    fault = None if abs(held_out) < MOST_APART else "the held-out losses differ"
    write(f"bfloat16 less float32 over {len(apart)} steps", values, fault)
