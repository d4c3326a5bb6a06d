"""The memory of one GPU that serves a model by vLLM: weights, work of a step, and what is left for the KV cache.

Weights are bfloat16. Tensor parallelism parts every matrix, embeddings too, by its degree; a pipeline's stage holds its
layers, the first also the embedding, the last the output layer (vllm/distributed/utils.py, get_pp_indices: what does
not divide goes to other stages than the last). A key head that has fewer copies than GPUs is repeated on each. A block
of the cache is the same on all GPUs, so the stage with most layers bounds its tokens.

Work of a step: vLLM measures it at its start by a forward pass of `max-num-batched-tokens`; here it is estimated, as
hidden states, the three halves of the feed-forward layer, and the logits of every sequence in float32 with the copies
of sampling. `REST` is what a process holds beside that: an allowance, not measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweep.study.sizes.shape import BFLOAT16, FLOAT32, Shape

REST = 3e9  # bytes: CUDA's context, NCCL's buffers, CUDA graphs
HIDDEN_COPIES = 4  # hidden states of a layer at work: residual, its input, attention's result, the sum
FEED_FORWARD = 3  # gate, the other half, their product
SAMPLED = 3  # float32 copies of a sequence's logits while it is sampled


@dataclass(frozen=True)
class GpuMemory:
    """Bytes of one GPU. `usable`: what vLLM may take (gpu-memory-utilization of the whole). `token`: of one token in
    the KV cache.
    """

    usable: float
    weights: float
    work: float
    token: float
    rest: float = REST

    @property
    def cache(self) -> float:
        """Left for the KV cache; below 0 where the model alone does not fit."""
        return self.usable - self.weights - self.work - self.rest

    @property
    def tokens(self) -> int:
        """How many tokens the KV cache holds, over all sequences."""
        return max(0, math.floor(self.cache / self.token))


def gpu_memory(shape: Shape, tensor: int, pipeline: int, batched: int, sequences: int, usable: float) -> GpuMemory:
    """Of the GPU that holds most. `batched`: tokens of a step; `sequences`: that are sampled at once."""
    layers = stage_layers(shape.num_hidden_layers, pipeline)
    ends = shape.outer_parameters if pipeline == 1 else shape.embedding_parameters + shape.hidden_size
    per_layer = HIDDEN_COPIES * shape.hidden_size + FEED_FORWARD * shape.intermediate_size / tensor
    return GpuMemory(
        usable=usable,
        weights=BFLOAT16 * (layers * shape.layer_parameters + ends) / tensor,
        work=BFLOAT16 * batched * per_layer + SAMPLED * FLOAT32 * sequences * shape.vocab_size,
        token=cached_bytes(shape, tensor, layers),
    )


def stage_layers(layers: int, pipeline: int) -> int:
    """Layers of the largest stage."""
    return math.ceil(layers / pipeline)


def cached_bytes(shape: Shape, tensor: int, layers: int) -> float:
    """Of one token on one GPU: key and value of its heads, in so many layers."""
    width = shape.query_size // shape.num_attention_heads
    heads = max(1, shape.key_heads // tensor)
    return 2 * BFLOAT16 * heads * width * layers
