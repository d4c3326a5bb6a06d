"""The memory of a training step of our own trainer on one GPU: its moments of most memory, and the peak among them.

Which moment that is depends on the shape. What is alive at each was found with torch's memory tracker on fake tensors
(tests/benchmarks/memory.py compares) and in FSDP2's code (torch 2.13, torch/distributed/fsdp/_fully_shard). Weights and
optimizer are alive at all moments and not counted here.

FSDP2 gathers a group of weights before its forward pass and again before its backward pass. Groups are the layers, the
input embedding, and the last norm with the output layer, which stays gathered in between. With tied embeddings the last
group holds the embedding; a single worker has one group for all weights outside the layers. In both cases that group's
gradients wait for the end of the backward pass. Gradients are summed in float32, in a buffer that is freed when the
next group's are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sweep.study.sizes.shape import (
    BFLOAT16,
    FLOAT32,
    LOGITS_BYTES,
    NORM,
    Shape,
    activation_bytes,
    backward_bytes,
    layer_bytes,
    logit_bytes,
    norm_bytes,
)

if TYPE_CHECKING:
    from sweep.study import Study

EVALUATION_SEQUENCES = 16  # of an evaluation's forward pass, at most
EVALUATION_TOKENS = 65536
SMALL = 2**21  # bytes: scalars, buffers, and the rounding of each tensor to the allocator's blocks


class Moment(NamedTuple):
    """Bytes alive at a moment. `gradients`: after their reduction, a worker's share. `gathered`: weights and gradients
    that are not sharded. `logits`: output layer and loss.
    """

    name: str
    gradients: float
    gathered: float
    activations: float
    logits: float = 0

    @property
    def total(self) -> float:
        return self.gradients + self.gathered + self.activations + self.logits


@dataclass(frozen=True)
class Step:
    """A micro-batch of `sequences` x `length` tokens on one of `workers`, computed in elements of `element` bytes.

    `sharded`: by FSDP2. `masked`: attention is given a dense mask. `accumulates`: a step has several micro-batches, so
    gradients exist from its start. `resharded`: a layer's weights are freed after its forward pass. `moments_bytes`: of
    one parameter's optimizer moments, while they are in float32 for the optimizer's step.
    """

    shape: Shape
    sequences: float
    length: int
    element: int
    workers: int = 1
    sharded: bool = True
    masked: bool = False
    accumulates: bool = True
    resharded: bool = True
    checkpointing: str = "none"
    kernel: str = "torch"
    moments_bytes: int = 0

    @staticmethod
    def of(study: Study, shape: Shape, sequences: float, length: int, workers: int, accumulates: bool) -> Step:
        """A step as the study's trainer takes it on GPUs."""
        training, execution = study.training, study.execution
        element = BFLOAT16 if training.precision == "bfloat16" else FLOAT32
        return Step(
            shape=shape,
            sequences=sequences,
            length=length,
            element=element,
            workers=workers,
            sharded=workers > 1 or element == BFLOAT16,
            masked=(training.document_masking or 0 < (shape.sliding_window or 0) <= length)
            and execution.attention == "sdpa",
            accumulates=accumulates,
            resharded=execution.reshard_after_forward,
            checkpointing=execution.activation_checkpointing,
            kernel=execution.cross_entropy,
            moments_bytes=0 if training.optimizer.state == "float32" else 2 * FLOAT32,
        )

    @property
    def peak(self) -> Moment:
        return max(self.moments(), key=lambda moment: moment.total)

    def moments(self) -> Iterator[Moment]:
        yield from self._loss()
        yield from self._layers()
        tied = self._late and self.workers > 1 and not self.accumulates
        last = FLOAT32 * self.shape.embedding_parameters / self.workers if tied else 0  # not there yet
        yield Moment("the end of the backward pass", self._gradients - last, self._end, self._inputs)
        largest = max(self.shape.embedding_parameters, self.shape.hidden_size * self.shape.intermediate_size)
        yield Moment("the optimizer", self._gradients, self.moments_bytes * largest / self.workers, 0)

    def _loss(self) -> Iterator[Moment]:
        shape, element = self.shape, self.element
        gradients = self._gradients if self.accumulates else 0
        kept = shape.num_hidden_layers * self._kept + self._inputs
        norm = norm_bytes(shape, element) * self.tokens
        gathered, forward, backward = self._tail + self._gathered(0), *self._logits
        yield Moment("the loss", gradients, gathered + self._buffer, kept + norm, forward)
        yield Moment("the loss, backward", gradients, gathered, kept + norm, backward)
        if not self._late:
            reduced = self._reduced(self._tail / element, still=self._embedding) + self._gathered(1)
            yield Moment("the output layer's gradient", gradients, reduced, kept)

    def _layers(self) -> Iterator[Moment]:
        """The backward pass of the last layer, of the one before it, and of the first: in its feed-forward part, and
        with all its gradients. Until then there is the buffer of the group that was reduced before.
        """
        layers = self.shape.num_hidden_layers
        buffer = FLOAT32 * self.shape.layer_parameters if self.sharded else 0
        last = 0 if self._late else FLOAT32 / self.element * self._tail
        yield from self._layer(layers, last)
        if layers > 1:
            yield from self._layer(layers - 1, buffer)
            yield from self._layer(1, buffer)

    def _layer(self, left: int, buffer: float) -> Iterator[Moment]:
        """The backward pass of a layer, when so many are left: its feed-forward part, which has the gradient of one
        matrix, its attention, which has all before it, and its end.
        """
        shape, element = self.shape, self.element
        gathered = self._waiting + self._gathered(2 if self.workers > 1 else 1, left) + buffer
        done = (shape.num_hidden_layers - left) * shape.layer_parameters
        reduced = done if self._late else done + self._tail / element
        gradients = self._gradients if self.accumulates else FLOAT32 * reduced / self.workers
        one = element * shape.hidden_size * shape.intermediate_size
        added = backward_bytes(shape, element, self._keys)
        activations = left * self._kept + self._inputs
        again = activations + self.tokens * (self._activation_bytes[1] - max(added))
        norm = self.tokens * NORM * FLOAT32 * shape.hidden_size
        yield Moment("a layer's backward pass", gradients, gathered + one, again + self.tokens * added[0])
        before = 3 * one + element * shape.hidden_size * shape.query_size
        yield Moment("a layer's attention", gradients, gathered + before, again + self.tokens * added[1])
        all_of_layer = element * shape.layer_parameters
        yield Moment("a layer's gradients", gradients, gathered + all_of_layer, activations - self._kept + norm)

    @property
    def evaluation(self) -> Moment:
        """The forward pass of an evaluation, which keeps nothing: a layer at work, or the output layer."""
        shape, copies = self.shape, 2 if self.workers > 1 else 1
        logits, _ = logit_bytes(shape, self.tokens, self.element, self.kernel, gradients=False)
        hidden = self.tokens * (self.element * shape.hidden_size + norm_bytes(shape, self.element))
        layer = self.tokens * layer_bytes(shape, self.element, self._keys)
        gathered = self._gathered(copies) + (self._tail if self._late else 0)
        return max(
            Moment("evaluation", 0, gathered, layer + self._inputs),
            Moment("evaluation", 0, self._tail + self._buffer + self._gathered(0), hidden + self._inputs, logits),
            key=lambda moment: moment.total,
        )

    @property
    def tokens(self) -> float:
        return self.sequences * self.length

    @property
    def _logits(self) -> tuple[float, float]:
        return logit_bytes(self.shape, self.tokens, self.element, self.kernel)

    @property
    def _keys(self) -> int:
        return self.length if self.masked else 0

    @property
    def _activation_bytes(self) -> tuple[float, float]:
        return activation_bytes(self.shape, self.checkpointing, self.element, self._keys)

    @property
    def _kept(self) -> float:
        """What a layer keeps for its backward pass."""
        return self.tokens * self._activation_bytes[0]

    @property
    def _inputs(self) -> float:
        """Alive throughout: token, position and target, sine and cosine of each position, and the mask as booleans."""
        rotary = 2 * self.element * self.shape.query_size / self.shape.num_attention_heads
        return self.tokens * (3 * 8 + rotary + self._keys) + SMALL

    @property
    def _gradients(self) -> float:
        """Several workers that share tied weights reduce their gradients twice, into two buffers that both stay."""
        twice = self.shape.embedding_parameters if self._late and self.workers > 1 else 0
        return FLOAT32 * (self.shape.parameters + twice) / self.workers

    @property
    def _late(self) -> bool:
        """Whether the output layer's gradient waits for the end."""
        return self.shape.tie_word_embeddings or self.workers == 1

    @property
    def _embedding(self) -> float:
        """The embedding's weights, or its gradient."""
        return self.element * self.shape.embedding_parameters if self.sharded else 0

    @property
    def _tail(self) -> float:
        """The weights of the last group. Several workers gather tied weights twice (transformers 5.23): for the input
        embedding, and for the output layer.
        """
        shape = self.shape
        if not self.sharded:
            return 0
        if self._late:
            return self.element * (shape.outer_parameters + (shape.embedding_parameters if self.workers > 1 else 0))
        return self.element * (shape.embedding_parameters + shape.hidden_size)

    @property
    def _buffer(self) -> float:
        """In a forward pass of several workers, that in which the last weights came, until the next do."""
        if self.workers == 1:
            return 0
        return self.element * self.shape.layer_parameters if self._late else self._tail

    @property
    def _waiting(self) -> float:
        """During the layers' backward pass: the last group's weights, and the output layer's gradient."""
        if not self._late:
            return 0
        own = 0 if self.accumulates else self.element * self.shape.embedding_parameters
        return self._tail + self._embedding if self.sharded else own

    @property
    def _end(self) -> float:
        """The reduction of the weights outside the layers, of several workers the embedding's, twice where tied."""
        shape, counted = self.shape, not self.accumulates
        if not self.sharded:
            return 0 if counted else self.element * shape.embedding_parameters
        if self.workers == 1:
            return self._reduced(shape.outer_parameters, counted=counted)
        tied = 2 * self._embedding if self._late else 0
        return self._reduced(shape.embedding_parameters + shape.hidden_size, self._embedding, counted) + tied

    def _gathered(self, layers: int, left: int | None = None) -> float:
        """The weights of so many layers; where they are not resharded, of all that are `left` in the backward pass."""
        if not self.sharded:
            return 0
        if not self.resharded:
            layers = self.shape.num_hidden_layers if left is None else left
        return self.element * self.shape.layer_parameters * layers

    def _reduced(self, parameters: float, still: float = 0, counted: bool = False) -> float:
        """The reduction of a group's gradients: its buffer, and the gradients before it or the result after it, which
        may be `counted` as gradients already. `still`: gradients beside the result; several workers keep a reference to
        the group's last.
        """
        if not self.sharded:
            return 0
        before, result = self.element * parameters, FLOAT32 * parameters / self.workers
        return FLOAT32 * parameters + (max(before - result, still) if counted else max(before, result + still))


def evaluation_sequences(micro_batch: int, length: int, words: int | None) -> int:
    """Sequences of `length` tokens in one forward pass of an evaluation: a micro-batch. Where the number of `words` of
    the vocabulary is given it takes more, as long as their logits are small.
    """
    small = LOGITS_BYTES // (FLOAT32 * words * length) if words else 0
    return min(max(micro_batch, small), EVALUATION_SEQUENCES, max(1, EVALUATION_TOKENS // length))
