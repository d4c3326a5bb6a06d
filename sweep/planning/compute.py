"""FLOPs of a trial, and its time at a stated MFU."""

from __future__ import annotations

from sweep.study.sections.resources import Resources
from sweep.study.sizes.shape import Shape


def flops_per_token(shape: Shape, sequence_length: int) -> float:
    """Forward and backward pass: 6 per multiplied parameter, and 12 x layers x query size x sequence length for
    attention (Chowdhery et al., arXiv 2204.02311, appendix B). As in MFU, what checkpointing computes again is not
    counted.
    """
    attention = 12 * shape.num_hidden_layers * shape.query_size * sequence_length
    return 6 * shape.multiplied_parameters + attention


def seconds_at_mfu(flops: float, resources: Resources) -> float | None:
    """Seconds of computation on all GPUs of a trial; None where the study states no GPU or no MFU."""
    if not (resources.known_gpu and resources.mfu and resources.gpus):
        return None
    return flops / (resources.mfu * resources.known_gpu.flops * resources.gpus)
