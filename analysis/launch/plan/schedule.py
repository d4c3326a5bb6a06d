"""The trials' LR schedule over the launch's steps; every trainer's own schedule is compared with it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweep.study.sections.training import Schedule


@dataclass(frozen=True)
class Steps:
    """The parts of a run of `total` optimizer steps; `decay` is for WSD."""

    total: int
    warmup: int
    decay: int

    @staticmethod
    def of(schedule: Schedule, total: int) -> Steps:
        warmup = round(schedule.warmup * total)
        return Steps(total, warmup, min(round(schedule.decay * total), total - warmup))

    @property
    def stable(self) -> int:
        return self.total - self.warmup - self.decay


def lr_share(schedule: Schedule, steps: Steps, step: int) -> float:
    """The LR of a step (from 0) as a share of the peak: linear warm-up, then a half cosine down to `min_lr`, which
    begins after the warm-up (cosine) or for the last `decay` steps (WSD). As in transformers, WSD warms up from
    `min_lr`.
    """
    if step < steps.warmup:
        begin = warmup_from(schedule)
        return begin + (1 - begin) * step / steps.warmup
    begins = steps.warmup if schedule.name == "cosine" else steps.total - steps.decay
    if step < begins or begins == steps.total:
        return 1.0
    progress = min(1.0, (step - begins) / (steps.total - begins))
    return schedule.min_lr + (1 - schedule.min_lr) * 0.5 * (1 + math.cos(math.pi * progress))


def warmup_from(schedule: Schedule) -> float:
    """The LR at step 0 as a share of the peak."""
    return schedule.min_lr if schedule.name == "wsd" else 0.0


def probe_steps(steps: Steps) -> list[int]:
    """Steps at which different schedules differ: in the warm-up, at its end, and along the decay."""
    begins, length = steps.total - steps.decay, steps.total - steps.warmup
    after = [steps.warmup + round(share * length) for share in (0.01, 0.25, 0.5, 0.75, 0.9)]
    found = {0, steps.warmup // 2, steps.warmup, *after, begins, begins + steps.decay // 2, steps.total - 1}
    return sorted(step for step in found if step < steps.total)  # a run has no others
