"""Divergence of a trial, and stopping it early."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from trainers.loop.learner import StepMetrics

SMOOTHED_STEPS = 10  # the training loss is averaged over so many steps before it counts as suspicious


@dataclass
class DivergenceWatch:
    """Stops a trial whose held-out loss, weighted by its ALMR, is more than `margin` nats above the base model's.

    Weighting by the ALMR distinguishes divergence from forgetting: a trial with much additional text may forget the
    original language and still train well. A high training loss only raises suspicion. The held-out loss (`measure`)
    decides, and has to exceed the margin twice, SMOOTHED_STEPS apart: a spike after the warm-up often recovers.
    """

    almr: float
    base: dict[str, float]
    margin: float
    measure: Callable[[], dict[str, float]]
    reason: str | None = None
    above_before: bool = False
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=SMOOTHED_STEPS))

    def copy(self) -> DivergenceWatch:
        """An independent copy, for a branch."""
        return replace(self, recent=self.recent.copy())

    def state(self) -> dict[str, Any]:
        """The state that a checkpoint holds, for `restore`."""
        return {"above_before": self.above_before, "recent": list(self.recent)}

    def restore(self, state: dict[str, Any]) -> None:
        self.above_before = state["above_before"]
        self.recent.extend(state["recent"])

    def __call__(self, step: StepMetrics) -> bool:
        """Look at a training step; returns whether the trial has diverged, with the cause in `reason`."""
        self.recent.append(step.loss)
        if not (math.isfinite(step.loss) and math.isfinite(step.grad_norm)):
            self.reason = f"the training loss or its gradient is not finite at step {step.step}"
        elif len(self.recent) == SMOOTHED_STEPS:
            self._check(step)
        return self.reason is not None

    def _check(self, step: StepMetrics) -> None:
        if not self._suspicious():
            self.above_before = False
            return
        self.recent.clear()  # so that the next check is SMOOTHED_STEPS later
        divergence = self.divergence(self.measure(), step.step)
        self.reason = divergence if self.above_before else None
        self.above_before = divergence is not None

    def divergence(self, held_out: dict[str, float], step: int) -> str | None:
        """The reason why this held-out loss counts as divergence; None where it does not."""
        if not all(math.isfinite(loss) for loss in held_out.values()):
            return f"the held-out loss is not finite at step {step}"
        excess = self._mixed(held_out) - self._mixed(self.base)
        if excess > self.margin:
            return f"held-out loss is {excess:.3f} nats above the base model at step {step} (margin {self.margin})"
        return None

    def _suspicious(self) -> bool:
        return sum(self.recent) / len(self.recent) > self._mixed(self.base) + self.margin

    def _mixed(self, losses: dict[str, float]) -> float:
        """Both languages' losses, weighted by the ALMR."""
        return self.almr * losses["additional"] + (1 - self.almr) * losses["original"]
