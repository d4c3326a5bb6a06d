"""Fitting a model to its device: activation checkpointing, FSDP2 of a single worker, torch.compile.

None of it changes what is computed but by rounding, nor the names of the weights.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts
from transformers.modeling_layers import GradientCheckpointingLayer

from sweep.study.sections.resources import Execution

aten = torch.ops.aten
# What takes longest to compute again, for the memory that it takes: products of matrices, and attention.
KEPT = {
    aten.mm.default,
    aten.addmm.default,
    aten.bmm.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
}


def layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Its decoder layers, by the class that transformers gives them all."""
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def checkpoint_activations(model: Any, execution: Execution) -> None:
    """`full` keeps the input of every decoder layer, `selective` its products of matrices and attention too."""
    if execution.activation_checkpointing == "none":
        return
    how: dict[str, Any] = {"use_reentrant": False}
    if execution.activation_checkpointing == "selective":
        how["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)
    model.activation_checkpointing_enable(activation_checkpointing_kwargs=how)


def _policy(context: Any, operation: Any, *arguments: Any, **more: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in KEPT else CheckpointPolicy.PREFER_RECOMPUTE


def shard(model: Any, precision: str, execution: Execution, alone: bool) -> None:
    """FSDP2 of a worker `alone`, over itself; of a gang's model, which was sharded as it was loaded, the rest."""
    if alone:
        policy = (
            MixedPrecisionPolicy(torch.bfloat16, torch.float32) if precision == "bfloat16" else MixedPrecisionPolicy()
        )
        mesh = init_device_mesh(model.device.type, (1,))
        for layer in layers(model):
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh, mp_policy=policy)
    for layer in layers(model):
        if isinstance(layer, FSDPModule):
            layer.set_reshard_after_forward(execution.reshard_after_forward)


def compile_layers(model: torch.nn.Module) -> None:
    """Each decoder layer by itself: they share one program, which later trials of this process find made.

    Its `forward` alone, so that what FSDP2 does before and after it stays outside.
    """
    for layer in layers(model):
        layer.forward = torch.compile(layer.forward)
