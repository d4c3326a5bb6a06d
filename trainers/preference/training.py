"""The training of one trial: its log, its divergence, and its held-out losses on the way and at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, TextIO

from sweep.study import Trial
from sweep.study.numbers import finite, json_text
from sweep.study.sections.recipe.training import Training
from trainers.loop.divergence import DivergenceWatch
from trainers.loop.learner import StepMetrics
from trainers.preference.held_out import HeldOutPairs, HeldOutResult
from trainers.preference.order import Drawn
from trainers.preference.trainer import PreferenceTrainer


@dataclass
class PreferenceTraining:
    """A trial in training on the pairs `drawn`, `each` of them in an optimizer step.

    `log` receives one JSON object a line, as in pre-training: of steps `loss` (the DPO loss of the step's pairs, in
    nats a pair) and `accuracy` (the share of them whose chosen answer is preferred), of evaluations both on held-out
    pairs. `tokens` are those of both rows of every pair so far. `track` receives each line too. `seconds` is the time
    of optimizer steps, without evaluations.
    """

    trial: Trial
    recipe: Training
    drawn: Sequence[Drawn]
    each: int
    log: TextIO
    track: Callable[[dict[str, Any]], None]
    step: int = 0
    seconds: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    def train(self, trainer: PreferenceTrainer, held_out: HeldOutPairs) -> HeldOutResult:
        """To the last step, or to divergence; returns what is measured on the held-out pairs then."""
        self.trainer, self.held_out = trainer, held_out
        self.watch = DivergenceWatch(
            self.trial.almr, held_out.base_losses, self.recipe.divergence_margin, lambda: self._measured().loss
        )
        self._evaluate()
        self.began = time.perf_counter()
        trainer.train()
        return self._evaluate()

    def listen(self, logged: dict[str, Any]) -> bool:
        """One optimizer step, as the trainer logs it; returns whether the training has to end."""
        self.step = int(logged["step"])
        self.seconds += time.perf_counter() - self.began
        metrics = StepMetrics(
            step=self.step,
            tokens=self.tokens,
            loss=float(logged["loss"]),
            lr=float(logged["learning_rate"]),
            grad_norm=float(logged["grad_norm"]),
            seconds=self.seconds,
        )
        last = self.recipe.steps
        if self.step % self.recipe.log_every == 0 or self.step in (1, last):
            self._write(asdict(metrics) | {"accuracy": logged["rewards/accuracies"]})
        stop = self.watch(metrics)
        every = self.recipe.evaluate_every
        if every and self.step % every == 0 and self.step != last and not stop:
            self._evaluate()
        self.began = time.perf_counter()
        return stop

    @property
    def tokens(self) -> int:
        """Of the pairs that were trained on so far."""
        return self._ends[self.step * self.each]

    @cached_property
    def _ends(self) -> list[int]:
        return [0, *accumulate(one.tokens for one in self.drawn)]

    def _measured(self) -> HeldOutResult:
        return self.held_out.measure(self.trainer.log_probs)

    def _evaluate(self) -> HeldOutResult:
        found = self._measured()
        more = {"accuracy": found.accuracy, "chosen_log_ratio": found.chosen}
        self._write({"step": self.step, "tokens": self.tokens, "held_out": found.loss} | more)
        return found

    def _write(self, line: dict[str, Any]) -> None:
        self.track(finite(line))
        self.log.write(json_text(line) + "\n")
        self.log.flush()
