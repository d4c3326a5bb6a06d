"""What a trial takes of one GPU's memory, from the model's shape alone.

Weights, gradients and optimizer in float32 (or as `optimizer.state` says), sharded over the trial's workers as FSDP2
does: Rajbhandari et al., arXiv 1910.02054, stage 3. Activations are counted operation by operation after Korthikanti et
al., arXiv 2205.05198, section 4.1, for this kind of layer: RMSNorm computed in float32, grouped keys, attention that
keeps no scores (SDPA, flash), SwiGLU, no dropout. A test holds that count against what autograd keeps.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

from sweep.study.sizes.shape import Shape
from sweep.study.study import Study

USABLE = 0.9  # the rest: CUDA's context, communication buffers, fragmentation
MASTER = 4  # bytes of a float32 element
MOMENTS = {"float32": 8, "bfloat16": 4, "int8": 2 + 8 / 256}  # of AdamW's two; int8 has a float32 scale per 256
LOSS = 12  # bytes a logit at the loss' peak: itself and its copy, float32, and the log-softmax or its gradient


@dataclass(frozen=True)
class Memory:
    """Bytes of one GPU at a micro-batch. `gathered`: weights and gradients that are whole for a while, in the compute
    dtype. `logits`: output layer and loss.
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
class TrialMemoryModel:
    """A study's trial on its workers: everything that its memory follows from."""

    shape: Shape
    study: Study

    @property
    def compute_bytes(self) -> int:
        return 2 if self.study.training.precision == "bfloat16" else 4

    @property
    def largest_micro_batch(self) -> int:
        """Sequences that a worker has of a global batch."""
        return self.study.training.batch_sequences // self.study.resources.workers

    @property
    def micro_batch(self) -> int:
        return min(self.study.training.micro_batch_sequences or self.largest_micro_batch, self.largest_micro_batch)

    def memory(self, sequences: int) -> Memory:
        """Of a micro-batch of so many sequences."""
        tokens = sequences * self.study.training.sequence_length
        share = self.shape.parameters / self.study.resources.workers
        return Memory(
            weights=MASTER * share,
            gradients=MASTER * share,
            optimizer=MOMENTS[self.study.training.optimizer.state] * share,
            gathered=gathered_bytes(self),
            activations=activation_bytes(self, tokens),
            logits=logit_bytes(self.shape, tokens, self.compute_bytes, self.study.execution.cross_entropy),
        )

    def fitting(self, gpu_bytes: float) -> int:
        """The largest micro-batch that fits into the usable part of so much memory; 0 where none does."""
        sizes = range(1, self.largest_micro_batch + 1)
        return max((n for n in sizes if self.memory(n).total <= USABLE * gpu_bytes), default=0)


def gathered_bytes(layout: TrialMemoryModel) -> float:
    """What belongs to no layer for the whole step, with its gradient, and two layers (the next one is fetched ahead)
    with the gradient of one, which is summed in float32; every layer where none is given back. The same of a single
    worker that computes in bfloat16, which FSDP2 shards over itself; in float32 it gathers nothing.
    """
    shape, size = layout.shape, layout.compute_bytes
    if not layout.study.resources.worker_group and size == MASTER:
        return 0
    whole = 2 if layout.study.execution.reshard_after_forward else shape.num_hidden_layers
    weights = shape.outer_parameters + whole * shape.layer_parameters
    return size * (weights + shape.outer_parameters) + (size + MASTER) * shape.layer_parameters


def activation_bytes(layout: TrialMemoryModel, tokens: int) -> float:
    """Kept for the backward pass; what is checkpointed comes back for one layer at a time."""
    shape, size = layout.shape, layout.compute_bytes
    whole = layer_bytes(shape, size)
    kept = {
        "none": whole,
        "selective": selective_bytes(shape, size),
        "full": size * shape.hidden_size,
    }[layout.study.execution.activation_checkpointing]
    again = 0 if layout.study.execution.activation_checkpointing == "none" else whole
    return tokens * (shape.num_hidden_layers * kept + again)


def layer_bytes(shape: Shape, size: int) -> float:
    """All that one layer keeps of a token, in elements of `size` bytes and in float32.

    Two norms: the input in float32, the normalised and the scaled one. Attention: queries, keys, values, the result,
    and per head the float32 log-sum of its softmax. SwiGLU: gate, its activation, the other half, their product.
    """
    norms = 2 * (MASTER + 2 * size) * shape.hidden_size
    attention = size * (2 * shape.query_size + 2 * shape.key_size) + MASTER * shape.num_attention_heads
    return norms + attention + 4 * size * shape.intermediate_size


def selective_bytes(shape: Shape, size: int) -> float:
    """The layer's input and the results of its matrix products and of attention; the rest is cheap to compute again."""
    products = 2 * shape.query_size + 2 * shape.key_size + 2 * shape.hidden_size + 2 * shape.intermediate_size
    return size * (shape.hidden_size + products)


def logit_bytes(shape: Shape, tokens: float, size: int, kernel: str = "torch") -> float:
    """Of a micro-batch in the trainer: all logits at once, or a part at a time (trainers/model/output_layer.py), which
    torch turns into their gradient where they lie. What goes in parts keeps the gradients of hidden state and output
    layer from the forward pass on. Liger's parts hold about as much as the hidden state (Hsu et al., arXiv 2410.10989).
    """
    gradients = size * (shape.hidden_size * tokens + shape.embedding_parameters)
    if kernel == "liger":
        return (size + MASTER) * shape.hidden_size * tokens + gradients
    rows = shape.rows_at_once(tokens)
    if rows == tokens:
        return LOSS * shape.vocab_size * tokens
    cast = 0 if size == MASTER else size  # of a part's gradient, for its product with the weight
    return (MASTER + cast) * shape.vocab_size * rows + gradients
