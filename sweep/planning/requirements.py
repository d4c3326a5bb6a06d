"""The memory that a trial takes of each of its GPUs.

Weights, gradients and optimizer moments are float32 (moments as `optimizer.state` says), sharded over the trial's
workers as FSDP2 does (Rajbhandari et al., arXiv 1910.02054, stage 3). sweep/study/sizes/step.py has the rest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property

from sweep.study import Study
from sweep.study.sizes.shape import FLOAT32, MOMENTS, USABLE, Shape
from sweep.study.sizes.step import Moment, Step, evaluation_sequences


@dataclass(frozen=True)
class Memory:
    """Bytes of one GPU at a micro-batch, at the moment of most memory. `gathered`: weights and gradients that are not
    sharded for a while. `logits`: output layer and loss.
    """

    weights: float
    gradients: float
    optimizer: float
    gathered: float
    activations: float
    logits: float

    @cached_property
    def total(self) -> float:
        return float(sum(asdict(self).values()))


@dataclass(frozen=True)
class TrialMemory:
    """The memory of a study's trial on its workers, by micro-batch."""

    shape: Shape
    study: Study

    @property
    def largest_micro_batch(self) -> int:
        """Sequences of a global batch per worker."""
        return self.study.training.batch_sequences // self.study.resources.workers

    @property
    def micro_batch(self) -> int:
        return min(self.study.training.micro_batch_sequences or self.largest_micro_batch, self.largest_micro_batch)

    def at(self, sequences: int) -> Memory:
        """Memory at a micro-batch of so many sequences."""
        share = self.shape.parameters / self.study.resources.workers
        moment = self.moment(sequences)
        return Memory(
            weights=FLOAT32 * share,
            gradients=moment.gradients,
            optimizer=MOMENTS[self.study.training.optimizer.state] * share,
            gathered=moment.gathered,
            activations=moment.activations,
            logits=moment.logits,
        )

    def moment(self, sequences: int) -> Moment:
        """When most memory is taken at a micro-batch of so many sequences, in training or in an evaluation."""
        step = self.step(sequences)
        evaluated = replace(step, sequences=evaluation_sequences(sequences, step.length, None))
        return max(step.peak, evaluated.evaluation, key=lambda moment: moment.total)

    def step(self, sequences: int) -> Step:
        """A step of the trainer with so many sequences at once."""
        length, workers = self.study.training.sequence_length, self.study.resources.workers
        return Step.of(self.study, self.shape, sequences, length, workers, sequences < self.largest_micro_batch)

    def largest_fitting(self, gpu_bytes: float) -> int:
        """The largest micro-batch that fits in the usable part of a GPU's memory; 0 where none does."""
        sizes = range(self.largest_micro_batch, 0, -1)
        return next((n for n in sizes if self.at(n).total <= USABLE * gpu_bytes), 0)
