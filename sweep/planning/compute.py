"""FLOPs of a trial, and its time at a stated share of the GPUs' peak."""

from __future__ import annotations

from sweep.study.sections.resources import Resources
from sweep.study.sizes.shape import Shape


def flops_per_token(shape: Shape, sequence_length: int) -> float:
    """Forward and backward: 6 per multiplied parameter, and 12 x layers x query size x sequence length for attention
    (Chowdhery et al., arXiv 2204.02311, appendix B). What checkpointing computes again is not counted,
    nor is it in MFU.
    """
    attention = 12 * shape.num_hidden_layers * shape.query_size * sequence_length
    return 6 * shape.multiplied_parameters + attention


def seconds_at_mfu(flops: float, resources: Resources) -> float | None:
    """Of work spread over a trial's GPUs; None where the study names no GPU or no MFU."""
    if not (resources.known_gpu and resources.mfu and resources.gpus):
        return None
    return flops / (resources.mfu * resources.known_gpu.flops * resources.gpus)
