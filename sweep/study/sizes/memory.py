"""Bytes of one GPU that the parts of a decoder-only transformer take in training, from its shape alone.

Activations are counted operation by operation after Korthikanti et al., arXiv 2205.05198, section 4.1, for this kind of
layer: RMSNorm computed in float32, grouped keys, attention that keeps no scores (SDPA, flash), SwiGLU, no dropout. A
test compares the count with what autograd keeps.
"""

from __future__ import annotations

from sweep.study.sizes.shape import Shape

USABLE = 0.9  # share of a GPU's memory; the rest: CUDA's context, communication buffers, fragmentation
FLOAT32 = 4  # bytes of an element
BFLOAT16 = 2
MOMENTS = {"float32": 8, "bfloat16": 4, "int8": 2 + 8 / 256}  # bytes of AdamW's two; int8 has a float32 scale per 256
LOSS = 12  # bytes per logit at the loss' peak: itself and its copy, float32, and the log-softmax or its gradient


def layer_bytes(shape: Shape, element: int) -> float:
    """All that one layer keeps of one token, in elements of `element` bytes and in float32.

    Two norms: the input in float32, the normalised and the scaled one. Attention: queries, keys, values, the result,
    and per head the float32 log-sum of its softmax. SwiGLU: gate, its activation, the other half, their product.
    """
    norms = 2 * (FLOAT32 + 2 * element) * shape.hidden_size
    attention = element * (2 * shape.query_size + 2 * shape.key_size) + FLOAT32 * shape.num_attention_heads
    return norms + attention + 4 * element * shape.intermediate_size


def selective_bytes(shape: Shape, element: int) -> float:
    """What one layer keeps of one token under selective activation checkpointing: its input, and the results of its
    matrix products and of attention. The rest is cheap to compute again.
    """
    products = 2 * shape.query_size + 2 * shape.key_size + 2 * shape.hidden_size + 2 * shape.intermediate_size
    return element * (shape.hidden_size + products)


def activation_bytes(shape: Shape, checkpointing: str, element: int) -> tuple[float, float]:
    """Per token: what every layer keeps for the backward pass under an activation checkpointing ("none", "selective",
    "full"), and what is computed again, for one layer at a time.
    """
    whole = layer_bytes(shape, element)
    if checkpointing == "none":
        return whole, 0
    return (selective_bytes(shape, element) if checkpointing == "selective" else element * shape.hidden_size), whole


def logit_bytes(shape: Shape, tokens: float, element: int, kernel: str = "torch") -> float:
    """Output layer and loss of a micro-batch in our trainer: all logits at once, or in parts, whose gradients torch
    writes over them (trainers/model/output_layer.py). In parts, the gradients of hidden state and output layer are kept
    from the forward pass on. Liger's parts take about as much as the hidden state (Hsu et al., arXiv 2410.10989).
    """
    gradients = element * (shape.hidden_size * tokens + shape.embedding_parameters)
    if kernel == "liger":
        return (element + FLOAT32) * shape.hidden_size * tokens + gradients
    rows = shape.rows_at_once(tokens)
    if rows == tokens:
        return LOSS * shape.vocab_size * tokens
    cast = 0 if element == FLOAT32 else element  # of a part's gradient, for its product with the weight
    return (FLOAT32 + cast) * shape.vocab_size * rows + gradients
