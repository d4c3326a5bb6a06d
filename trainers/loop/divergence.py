"""When a trial counts as diverged, and noticing it early."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from trainers.loop.loop import StepMetrics

SMOOTHED_STEPS = 10  # training loss is averaged over so many steps before it can raise suspicion


@dataclass
class DivergenceWatch:
    """Stops a trial whose held-out loss, weighted as its own mixture, is `margin` nats above the base model's.

    Weighting by the mixture tells blowing up from forgetting: a trial on much additional text may lose the original
    language and yet train well. The cheap training loss raises suspicion, the held-out loss (`measure`) decides, and
    it has to do so twice, SMOOTHED_STEPS apart: a spike at the end of the warm-up often heals.
    """

    almr: float
    base: dict[str, float]
    margin: float
    measure: Callable[[], dict[str, float]]
    reason: str | None = None
    above_before: bool = False
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=SMOOTHED_STEPS))

    def copy(self) -> DivergenceWatch:
        """As it is now, for a branch: what it sees there is none of the trunk's affair."""
        return replace(self, recent=self.recent.copy())

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, for `restore`."""
        return {"above_before": self.above_before, "recent": list(self.recent)}

    def restore(self, state: dict[str, Any]) -> None:
        self.above_before = state["above_before"]
        self.recent.extend(state["recent"])

    def __call__(self, step: StepMetrics) -> bool:
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
        self.recent.clear()  # the next look is SMOOTHED_STEPS away
        verdict = self.judge(self.measure(), step.step)
        self.reason = verdict if self.above_before else None
        self.above_before = verdict is not None

    def judge(self, held_out: dict[str, float], step: int) -> str | None:
        """Why this held-out loss is divergence, or None."""
        if not all(math.isfinite(loss) for loss in held_out.values()):
            return f"the held-out loss is not finite at step {step}"
        excess = self._mixed(held_out) - self._mixed(self.base)
        if excess > self.margin:
            return f"held-out loss is {excess:.3f} nats above the base model at step {step} (margin {self.margin})"
        return None

    def _suspicious(self) -> bool:
        return sum(self.recent) / len(self.recent) > self._mixed(self.base) + self.margin

    def _mixed(self, losses: dict[str, float]) -> float:
        return self.almr * losses["additional"] + (1 - self.almr) * losses["original"]
