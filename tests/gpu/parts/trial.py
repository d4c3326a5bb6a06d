"""One trial of SmolLM2-135M on Chinese verse, run as a worker of `almr run` runs it."""

from __future__ import annotations

import math
from collections.abc import Callable

from sweep.study.sizes.known import EMBEDDED
from tests.gpu.planned import trial_bytes
from tests.gpu.setting import Setting, gigabytes


def measure(setting: Setting, write: Callable[..., None]) -> None:
    content = setting.content("trial", steps=setting.of(48, 6), sequences=setting.of(32, 4))
    content["training"]["micro_batch_sequences"] = setting.of(8, 2)
    record, steps = setting.trained(content)
    assert record.loss
    assert record.base_loss
    before, after = record.base_loss.additional, record.loss.additional
    finite = all(math.isfinite(line["loss"] or math.nan) for line in steps) and after is not None
    fault = None
    if record.status != "complete" or not finite:
        fault = f"the trial ended as {record.status.value}: {record.reason}"
    elif not (before and after < before):
        fault = "the loss on the additional language did not fall"
    values = {
        "Chinese loss before": before,
        "after": after,
        "English before": record.base_loss.original,
        "English after": record.loss.original,
        "steps": record.steps,
        "training loss first": steps[0]["loss"],
        "last": steps[-1]["loss"],
    }
    write(f"losses, nats per token (status {record.status.value})", values, fault)
    cost = {
        "tokens/s": record.tokens_per_second,
        "training, s": record.training_seconds,
        "whole trial, s": record.seconds,
        "MFU": record.mfu if record.mfu is not None else "unknown",
        "peak memory, GB": gigabytes(record.peak_memory_bytes or 0),
        "planned peak, GB": gigabytes(trial_bytes(content, EMBEDDED["smollm2-135m"].shape))
        if setting.kit or setting.gpu
        else "-",
    }
    write(f"cost on {record.provenance['device']}", cost)
