"""The memory that a trial takes of each of its GPUs.

Weights, gradients and optimizer moments are float32 (moments as `optimizer.state` says), sharded over the trial's
workers as FSDP2 does (Rajbhandari et al., arXiv 1910.02054, stage 3). sweep/study/sizes/shape.py has the rest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

from sweep.study import Study
from sweep.study.sizes.shape import BFLOAT16, FLOAT32, MOMENTS, USABLE, Shape, activation_bytes, logit_bytes


@dataclass(frozen=True)
class Memory:
    """Bytes of one GPU at a micro-batch. `gathered`: weights and gradients that are not sharded for a while, in the
    compute dtype. `logits`: output layer and loss.
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
    def compute_bytes(self) -> int:
        """Bytes of an element that is computed with."""
        return BFLOAT16 if self.study.training.precision == "bfloat16" else FLOAT32

    @property
    def largest_micro_batch(self) -> int:
        """Sequences of a global batch per worker."""
        return self.study.training.batch_sequences // self.study.resources.workers

    @property
    def micro_batch(self) -> int:
        return min(self.study.training.micro_batch_sequences or self.largest_micro_batch, self.largest_micro_batch)

    def at(self, sequences: int) -> Memory:
        """Memory at a micro-batch of so many sequences."""
        tokens = sequences * self.study.training.sequence_length
        share = self.shape.parameters / self.study.resources.workers
        execution = self.study.execution
        kept, again = activation_bytes(self.shape, execution.activation_checkpointing, self.compute_bytes)
        return Memory(
            weights=FLOAT32 * share,
            gradients=FLOAT32 * share,
            optimizer=MOMENTS[self.study.training.optimizer.state] * share,
            gathered=self.gathered_bytes,
            activations=tokens * (self.shape.num_hidden_layers * kept + again),
            logits=logit_bytes(self.shape, tokens, self.compute_bytes, execution.cross_entropy),
        )

    @property
    def gathered_bytes(self) -> float:
        """What is not sharded: embeddings, output layer and their gradients throughout a step; two layers (the current
        and the prefetched one; all layers without `reshard_after_forward`); one layer's gradient, summed in float32. A
        single worker in bfloat16 takes the same, because FSDP2 shards its model too; in float32 it gathers nothing.
        """
        shape, element = self.shape, self.compute_bytes
        if not self.study.resources.worker_group and element == FLOAT32:
            return 0
        layers = 2 if self.study.execution.reshard_after_forward else shape.num_hidden_layers
        weights = shape.outer_parameters + layers * shape.layer_parameters
        return element * (weights + shape.outer_parameters) + (element + FLOAT32) * shape.layer_parameters

    def largest_fitting(self, gpu_bytes: float) -> int:
        """The largest micro-batch that fits in the usable part of a GPU's memory; 0 where none does."""
        sizes = range(1, self.largest_micro_batch + 1)
        return max((n for n in sizes if self.at(n).total <= USABLE * gpu_bytes), default=0)
