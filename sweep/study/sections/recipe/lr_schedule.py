"""The LR at each step of a run: the one formula that trials, launch formats and their read-back share.

This file imports nothing of the product: the bundle for torchtitan contains a copy of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

VERSION = 2  # raise it whenever a number below changes: trials of different schedules must not be mixed


@dataclass(frozen=True)
class LrSchedule:
    """The LR at each of `steps` optimizer steps, counted from 0, as a share of the peak LR.

    The first `warmup` steps are below the peak, and so are the last `decay` steps; the others, at least one, are at the
    peak. The warm-up is linear from `first`, by default 1 / (warmup + 1), to the step after it; the decay is half a
    cosine, and the last step has `min_lr`. This is the schedule of NeMo and nanoGPT: the first step learns, and no
    step is lost to an LR that only the step after the last would have.
    """

    steps: int
    warmup: int
    decay: int
    min_lr: float
    first: float | None = None

    @property
    def begin(self) -> float:
        """The LR of the first step of the warm-up."""
        return 1 / (self.warmup + 1) if self.first is None else self.first

    @property
    def peak(self) -> range:
        """The steps at the peak."""
        return range(self.warmup, self.steps - self.decay)

    def share(self, step: int) -> float:
        if step < self.warmup:
            return self.begin + (1 - self.begin) * step / self.warmup
        if step < self.peak.stop or not self.decay:
            return 1.0
        progress = min(1.0, (step - self.peak[-1]) / self.decay)  # schedulers also ask for the step after the last
        return self.min_lr + (1 - self.min_lr) * 0.5 * (1 + math.cos(math.pi * progress))
