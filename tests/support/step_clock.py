"""When the steps of a `transformers.Trainer` ended."""

from __future__ import annotations

import time
from typing import Any

import torch
from transformers import TrainerCallback


class StepClock(TrainerCallback):  # type: ignore[misc]
    """`ends`: the time at the end of each optimizer step, in seconds, once a GPU has done its work."""

    def __init__(self, gpu: bool) -> None:
        self.gpu, self.ends = gpu, list[float]()

    def on_step_end(self, *arguments: Any, **more: Any) -> None:
        if self.gpu:
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
