"""The shape of a decoder-only transformer of the Llama kind, its parameter counts, and its memory in training.

Activations are counted operation by operation after Korthikanti et al., arXiv 2205.05198, section 4.1, for this kind of
layer: RMSNorm computed in float32, grouped keys, attention that keeps no scores (SDPA, flash), SwiGLU, no dropout. A
test compares the count with what autograd keeps.
"""

from __future__ import annotations

import math
from typing import Any, Self

from pydantic import model_validator

from sweep.study.fields import Count, Section
from sweep.study.sizes.family import FAMILIES, OTHER, PLAIN_LOGITS, Family

LOGITS_BYTES = 2**28  # in float32: larger logits are computed in parts, smaller ones are faster in one piece
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")  # of a mixture of experts, in its config
PARTS = 16  # of a micro-batch's bfloat16 logits, at most: each part rounds the sum of their weights' gradient
USABLE = 0.9  # share of a GPU's memory; the rest: CUDA's context, communication buffers, fragmentation
FLOAT32 = 4  # bytes of an element
BFLOAT16 = 2
MOMENTS = {"float32": 8, "bfloat16": 4, "int8": 2 + 8 / 256}  # bytes of AdamW's two; int8 has a float32 scale per 256
NORM = 5  # float32 copies of its input in the backward pass of an RMSNorm
LOSS = 12  # bytes per logit at the loss' peak: itself and its copy, float32, and the log-softmax or its gradient


class Shape(Section):
    """Sizes of a model, under the names of its Hugging Face `config.json`."""

    hidden_size: Count
    """Width of the residual stream."""
    intermediate_size: Count
    """Width of the feed-forward layers."""
    num_hidden_layers: Count
    """Number of layers."""
    num_attention_heads: Count
    """Number of query heads per layer."""
    num_key_value_heads: Count | None = None
    """Number of key and value heads per layer. Default: as many as query heads."""
    head_dim: Count | None = None
    """Width of a head. Default: hidden_size / num_attention_heads."""
    vocab_size: Count
    """Number of tokens in the vocabulary."""
    tie_word_embeddings: bool = False
    """Whether input embedding and output layer share their weights."""
    model_type: str = "llama"
    """Model family."""
    sliding_window: Count | None = None
    """How many tokens back every layer's attention sees. Default: all."""

    @model_validator(mode="after")
    def _heads_part_the_hidden_size(self) -> Self:
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}: "
                f"correct one of them, or add head_dim"
            )
        return self

    @classmethod
    def of_config(cls, config: dict[str, Any]) -> Self:
        """From a `config.json`. Raises ValueError where it does not have a Llama-like model's sizes."""
        if any(config.get(name) for name in EXPERTS):
            raise ValueError("it is a mixture of experts")
        if config.get("use_sliding_window") is False:
            config = config | {"sliding_window": None}
        elif config.get("use_sliding_window"):
            raise ValueError("some of its layers have a sliding window")
        return cls.model_validate({name: config[name] for name in cls.model_fields if config.get(name) is not None})

    @property
    def query_size(self) -> int:
        """Elements of one token's queries, over all heads."""
        width = self.head_dim or self.family.head_dim or self.hidden_size // self.num_attention_heads
        return self.num_attention_heads * width

    @property
    def key_size(self) -> int:
        """Elements of one token's keys, over all heads; the values have as many."""
        return self.query_size // self.num_attention_heads * self.key_heads

    @property
    def key_heads(self) -> int:
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def family(self) -> Family:
        """What its layers add to Llama's."""
        return FAMILIES.get(self.model_type, OTHER)

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the input embedding; an output layer that is not tied has as many again."""
        return self.vocab_size * self.hidden_size

    def rows_at_once(self, tokens: float, element: int) -> float:
        """How many tokens' logits the trainer holds at once: a part where they are many and the family allows it."""
        in_parts = self.model_type in PLAIN_LOGITS and 4 * self.vocab_size * tokens > LOGITS_BYTES
        return part_rows(self.vocab_size, tokens, element) if in_parts else tokens

    @property
    def layer_parameters(self) -> int:
        attention = self.hidden_size * (2 * self.query_size + 2 * self.key_size)
        biases = self.query_size + 2 * self.key_size if self.family.biased else 0
        norms = 2 * self.query_size // self.num_attention_heads if self.family.normed_heads else 0
        norms += self.query_size + self.key_size if self.family.normed_queries else 0
        return attention + biases + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size + norms

    @property
    def outer_parameters(self) -> int:
        """Parameters outside the layers: embeddings, output layer and the last norm."""
        return self.embedding_parameters * (1 if self.tie_word_embeddings else 2) + self.hidden_size

    @property
    def parameters(self) -> int:
        return self.num_hidden_layers * self.layer_parameters + self.outer_parameters

    @property
    def multiplied_parameters(self) -> int:
        """Parameters in matrix products; an input embedding that is not tied is only looked up."""
        return self.parameters - (0 if self.tie_word_embeddings else self.embedding_parameters)

    def training_flops(self, sequence_length: int) -> float:
        """FLOPs of one token's forward and backward pass: 6 per multiplied parameter, and 12 x layers x query size x
        sequence length for attention (Chowdhery et al., arXiv 2204.02311, appendix B). As in MFU, what checkpointing
        computes again is not counted.
        """
        return 6 * self.multiplied_parameters + 12 * self.num_hidden_layers * self.query_size * sequence_length


def part_rows(words: int, tokens: float, element: int) -> int:
    """Tokens of a part of the logits: as many as stay small, and in bfloat16 enough for few parts."""
    small = max(1, LOGITS_BYTES // (FLOAT32 * words))
    return small if element == FLOAT32 else max(small, math.ceil(tokens / PARTS))


def norm_bytes(shape: Shape, element: int) -> float:
    """What an RMSNorm keeps of a token: its input and inverse norm in float32, the normalised and the scaled one.

    A norm after attention or feed-forward part is scaled in float32; what is scaled is added to the layer's input, and
    the sum is kept by the next products.
    """
    normalised = FLOAT32 if shape.family.norms_after else element
    return (FLOAT32 + normalised + element) * shape.hidden_size + FLOAT32


def query_norm_bytes(shape: Shape, element: int) -> float:
    """What norms of queries and keys keep of a token: input and inverse norm in float32, and the normalised ones."""
    family, both = shape.family, shape.query_size + shape.key_size
    if family.normed_heads:
        return (FLOAT32 + element) * both + FLOAT32 * (shape.num_attention_heads + shape.key_heads)
    return 2 * FLOAT32 * (both + 1) if family.normed_queries else 0


def layer_bytes(shape: Shape, element: int, keys: int = 0) -> float:
    """All that one layer keeps of one token, in elements of `element` bytes and in float32.

    Two norms. Attention: queries, keys, values, the result, and per head the float32 log-sum of its softmax. SwiGLU:
    gate, its activation, the other half, their product. `keys`: to how many keys a row of a dense attention mask goes
    (0: there is none). A mask is copied in `element` by every layer, and keys and values are repeated for all heads.
    """
    repeated = shape.query_size if keys else shape.key_size
    attention = element * (2 * shape.query_size + 2 * repeated + keys) + FLOAT32 * shape.num_attention_heads
    norms = 2 * norm_bytes(shape, element) + query_norm_bytes(shape, element)
    return norms + attention + 4 * element * shape.intermediate_size


def selective_bytes(shape: Shape, element: int) -> float:
    """Bytes that one layer keeps of one token under selective activation checkpointing.

    Kept are its input, and the results of its matrix products and of attention; the rest is cheap to compute again.
    """
    products = 2 * shape.query_size + 2 * shape.key_size + 2 * shape.hidden_size + 2 * shape.intermediate_size
    return element * (shape.hidden_size + products) + FLOAT32 * shape.num_attention_heads


def backward_bytes(shape: Shape, element: int, keys: int = 0) -> tuple[float, float]:
    """What a layer's backward pass adds per token to what the layer keeps: in the feed-forward part, in attention.

    Feed-forward part: the gradients of the layer's result, and of three intermediate results of SwiGLU where one is no
    longer needed; or, where its norm comes after it, that norm's float32 gradients. Attention: the gradients of the
    residual stream, and of attention's result, queries, keys and values, when the feed-forward part and its norm are
    freed; or, where each head has norms, those of queries and keys, in float32 too, and of attention's input.
    """
    hidden, queries, family = shape.hidden_size, shape.query_size, shape.family
    repeated = queries if keys else shape.key_size
    forward = element * (hidden + 2 * shape.intermediate_size)
    freed = 4 * element * shape.intermediate_size
    attention = 2 * element * (queries + repeated) + element * hidden
    if family.norms_after:
        forward = max(forward + element * hidden - 2 * FLOAT32 * hidden, 3 * (FLOAT32 + element) * hidden)
        return forward, attention - freed - 4 * FLOAT32 * hidden
    if family.normed_heads:
        normed = (FLOAT32 + element) * (queries + shape.key_size) + 2 * element * hidden
        attention = max(attention, normed - element * (2 * (repeated - shape.key_size) + keys))
    return forward, attention - freed - norm_bytes(shape, element)


def activation_bytes(shape: Shape, checkpointing: str, element: int, keys: int = 0) -> tuple[float, float]:
    """Per token: what every layer keeps for the backward pass under an activation checkpointing ("none", "selective",
    "full"), and what the backward pass of one layer adds.

    That are gradients, and what is computed again: all but an input that is kept as it is; or what selective
    checkpointing did not keep, less what it did but is no longer needed (queries and keys before their rotation).
    """
    whole, gradients = layer_bytes(shape, element, keys), max(backward_bytes(shape, element, keys))
    if checkpointing == "none":
        return whole, gradients
    again = whole + gradients - (element * shape.hidden_size if shape.family.norms_after else 0)
    if checkpointing == "full":
        return element * shape.hidden_size, again
    kept = element * (shape.hidden_size + shape.query_size + 2 * shape.intermediate_size)
    unneeded = element * (shape.query_size + shape.key_size) + FLOAT32 * shape.num_attention_heads
    return selective_bytes(shape, element), again - kept - unneeded


def logit_bytes(
    shape: Shape, tokens: float, element: int, kernel: str = "torch", gradients: bool = True
) -> tuple[float, float]:
    """Output layer and loss of a micro-batch in our trainer, in the forward and in the backward pass.

    All logits at once: logits, their copy in float32 and the log-softmax; then its gradients, and at last that of the
    weight. In parts, whose gradients are written over them (trainers/model/output_layer.py): the part in float32 and in
    `element`, three of its hidden states; and from the forward pass on the gradients of hidden state and weight, in
    float32 once more as the zeros that torch's own function is given for them. Liger's parts take about as much as the
    hidden state (Hsu et al., arXiv 2410.10989).
    """
    kept = element * (shape.hidden_size * tokens + shape.embedding_parameters) if gradients else 0
    if kernel == "liger":
        return (element + FLOAT32) * shape.hidden_size * tokens + kept, kept
    rows, cast = shape.rows_at_once(tokens, element), 0 if element == FLOAT32 else element
    if rows < tokens:
        part = (FLOAT32 + cast) * shape.vocab_size + 3 * FLOAT32 * shape.hidden_size
        return part * rows + kept, kept if cast else 2 * kept
    at_once = shape.vocab_size * tokens
    return (2 * FLOAT32 + cast) * at_once, max(LOSS * at_once, element * (at_once + shape.embedding_parameters))
