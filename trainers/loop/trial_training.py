"""The training of one trial: the main run, to the full budget, and the branches off it to shorter horizons.

A branch trains as a run of its own length would: on the same batches, with the same warm-up, and a decay over its own
last steps. Afterwards the main run continues as without a branch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO

from sweep.study import Horizon
from sweep.study.numbers import finite, json_text
from sweep.study.sections.recipe.training import Training
from trainers.data.mixture import BatchReader
from trainers.loop.checkpoint import Checkpoints
from trainers.loop.divergence import DivergenceWatch
from trainers.loop.held_out import HeldOut, Losses, per_language
from trainers.loop.learner import Learner, StepMetrics


@dataclass
class TrialTraining:
    """The main run of a trial and its branches.

    `reader` reads this worker's rows of the global batches; `horizons` holds what the branches measured so far;
    `resumed` the steps of the checkpoints that the trial resumed from. `log` receives one JSON object per line:
    training steps (with `loss`) and evaluations (with `held_out`). Lines with `horizon` belong to the branch to that
    many tokens, all others to the main run. `track` receives each line too.
    """

    learner: Learner
    reader: BatchReader
    held_out: HeldOut
    watch: DivergenceWatch
    log: TextIO
    checkpoints: Checkpoints
    track: Callable[[dict[str, Any]], None]
    resumed: list[int] = field(default_factory=list)
    horizons: dict[int, Horizon] = field(default_factory=dict)

    @property
    def training(self) -> Training:
        return self.learner.training

    def train(self) -> Losses:
        """Train to the full budget or to divergence, with all branches; returns the held-out losses at the end."""
        if self.learner.step == 0:
            self._write({"step": 0, "tokens": 0, "held_out": self.watch.base})
            self._branch_off()
        for step in self._steps(range(self.learner.step, self.training.steps), self.watch):
            if self.watch.reason or step.step == self.training.steps:
                break  # the evaluation below is the last one
            if self.training.evaluate_every and step.step % self.training.evaluate_every == 0:
                self._evaluate()
            self._branch_off()
            if self.checkpoints.due():
                self.checkpoints.save(self.learner, self._state())
        self._fail_missing_horizons()
        return self._evaluate()

    def resume(self, state: dict[str, Any]) -> None:
        """Resume from the newest checkpoint, which was saved with this state."""
        self.checkpoints.load(self.learner)
        self.learner.steps_taken, self.learner.seconds = state["taken"], state["seconds"]
        self.watch.restore(state["watch"])
        self.horizons = {h.tokens: h for h in map(Horizon.model_validate, state["horizons"])}
        self.resumed = [*state["resumed"], self.learner.step]

    def _state(self) -> dict[str, Any]:
        """What a checkpoint holds beside weights, optimizer and random state."""
        return {
            "step": self.learner.step,
            "taken": self.learner.steps_taken,
            "seconds": self.learner.seconds,
            "watch": self.watch.state(),
            "horizons": [horizon.model_dump() for horizon in self.horizons.values()],
            "resumed": self.resumed,
            "logged": self.log.tell(),
        }

    def _steps(self, steps: range, watch: DivergenceWatch, **label: int) -> Iterator[StepMetrics]:
        """Train over some steps of a run that ends with the last of them; logs every `log_every` steps."""
        shares = self.training.lr_schedule(steps.stop).share
        for step in self.learner.train(self.reader.read(steps), shares, watch):
            if step.step % self.training.log_every == 0 or step.step in (1, steps.stop):
                self._write(label | dataclasses.asdict(step))
            yield step

    def _branch_off(self) -> None:
        """Measure the horizons whose decay begins at the main run's current step."""
        for tokens in self.training.horizons:
            steps = self.training.steps_of(tokens)
            if self.training.decay_from(steps) == self.learner.step:
                with self.learner.branch():
                    self.horizons[tokens] = self._branch(tokens, steps)

    def _branch(self, tokens: int, steps: int) -> Horizon:
        watch = self.watch.copy()
        for _ in self._steps(range(self.learner.step, steps), watch, horizon=tokens):
            pass
        after = self._evaluate(horizon=tokens)
        if reason := watch.reason or watch.divergence(after, self.learner.step):
            return Horizon(tokens=tokens, steps=steps, reason=reason)
        bits = self.held_out.bits_per_byte(after)
        sources = self.held_out.source_results(loss=after, bits_per_byte=bits)
        return Horizon(
            tokens=tokens, steps=steps, loss=per_language(after), bits_per_byte=per_language(bits), sources=sources
        )

    def _fail_missing_horizons(self) -> None:
        """A main run that diverged before a horizon's decay began counts as divergence of that horizon too."""
        for tokens in self.training.horizons:
            missed = Horizon(tokens=tokens, steps=self.training.steps_of(tokens), reason=self.watch.reason)
            self.horizons.setdefault(tokens, missed)

    def _evaluate(self, **label: int) -> Losses:
        losses, step = self.held_out.losses(self.learner.loss), self.learner.step
        tokens = step * self.training.batch_sequences * self.training.sequence_length
        self._write(label | {"step": step, "tokens": tokens, "held_out": losses})
        return losses

    def _write(self, line: dict[str, Any]) -> None:
        self.track(finite(line))
        self.log.write(json_text(line) + "\n")
        self.log.flush()
