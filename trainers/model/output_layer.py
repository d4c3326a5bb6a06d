"""Output layer and cross-entropy fused, so that never all logits are in memory.

At a vocabulary of 128k and 8,192 tokens the logits take 4 GB in float32, and their gradient as much again. The layer's
`forward` returns the loss instead of logits while targets are set. The model itself calls it, so that FSDP2 has
gathered the layer's weights by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import linear

from sweep.study import InputError
from sweep.study.sections.resources import Execution
from sweep.study.sizes.family import PLAIN_LOGITS
from sweep.study.sizes.shape import LOGITS_BYTES, part_rows
from trainers.model.chunked_loss import summed_loss

Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class OutputLayer:
    """Replaces the `forward` of a model's output layer by the fused loss where that saves memory, or `always`."""

    def __init__(self, layer: torch.nn.Linear, kernel: Kernel, always: bool) -> None:
        self.layer, self.kernel, self.always = layer, kernel, always
        self.targets: torch.Tensor | None = None

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits, or the summed loss of `targets` where they are set."""
        weight = self.layer.weight
        if self.targets is None:
            return linear(hidden, weight)
        if torch.is_autocast_enabled(hidden.device.type):  # autocast knows neither kernel
            hidden, weight = hidden.bfloat16(), weight.bfloat16()
        return self.kernel(hidden.flatten(0, 1), weight, self.targets.flatten())

    def wanted(self, tokens: int) -> bool:
        return self.always or tokens * self.layer.out_features * 4 > LOGITS_BYTES


def fuse(model: Any, execution: Execution, device: torch.device) -> None:
    """Prepare a model's output layer. Raises InputError where the kernel is missing or does not suit it."""
    layer = model.get_output_embeddings()
    plain = model.config.model_type in PLAIN_LOGITS and isinstance(layer, torch.nn.Linear) and layer.bias is None
    liger = execution.cross_entropy == "liger"
    if liger and not plain:
        raise InputError(
            f"execution.cross_entropy: liger is not known to suit the model type {model.config.model_type}: write torch"
        )
    if plain:
        model.output_layer = OutputLayer(layer, _liger(device) if liger else _in_parts, always=liger)
        layer.forward = model.output_layer.forward


@contextmanager
def fused(model: Any, targets: torch.Tensor) -> Iterator[bool]:
    """Whether the model, called inside, returns the summed loss of `targets` in place of its logits."""
    own: OutputLayer | None = getattr(model, "output_layer", None)
    if own is None or not own.wanted(targets.numel()):
        yield False
        return
    own.targets = targets
    try:
        yield True
    finally:
        own.targets = None


def _in_parts(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return summed_loss(hidden, weight, targets, part_rows(len(weight), len(hidden), hidden.element_size()))


def _liger(device: torch.device) -> Kernel:
    if device.type != "cuda":
        raise InputError("execution.cross_entropy: liger needs a GPU: write torch")
    try:
        from liger_kernel.transformers.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyLoss
    except ImportError:
        raise InputError(
            "execution.cross_entropy: liger is not installed: pip install 'almr-sweep[kernels]', or write torch"
        ) from None
    loss = LigerFusedLinearCrossEntropyLoss(reduction="sum")
    return lambda hidden, weight, targets: loss(weight, hidden, targets)
