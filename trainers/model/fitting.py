"""Fitting a model to its device: activation checkpointing, FSDP2 of a single worker, torch.compile.

All of it changes results by rounding only, and leaves the names of the weights.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.attention.flex_attention  # its operation exists once it is imported
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts
from transformers.modeling_layers import GradientCheckpointingLayer

from sweep.study.sections.resources import Execution
from trainers.workers.group import WorkerGroup

aten = torch.ops.aten
# Saved by selective checkpointing: matrix products and attention take longest to recompute for their memory.
SAVED = {
    aten.mm.default,
    aten.addmm.default,
    aten.bmm.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.higher_order.flex_attention,
}


def layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The decoder layers of a model, found by the class that transformers derives all of them from."""
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def checkpoint_activations(model: Any, execution: Execution) -> None:
    """Recompute activations: `full` saves the input of every decoder layer, `selective` also its matrix products and
    attention.
    """
    if execution.activation_checkpointing == "none":
        return
    how: dict[str, Any] = {"use_reentrant": False}
    if execution.activation_checkpointing == "selective":
        how["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=how)
    else:  # its name up to transformers 5.22
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=how)


def _policy(context: Any, operation: Any, *arguments: Any, **more: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in SAVED else CheckpointPolicy.PREFER_RECOMPUTE


def shard(model: Any, precision: str, workers: WorkerGroup) -> None:
    """Shard a whole model over its workers with FSDP2. It may be in host memory; its parts will be on the device."""
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if precision == "bfloat16" else MixedPrecisionPolicy()
    mesh = init_device_mesh(workers.device.type, (workers.size,))
    read, written = model.get_input_embeddings(), model.get_output_embeddings()
    alone = workers.size > 1 and read.weight is not written.weight  # freed after the forward pass; a tied one is not
    for part in [*layers(model), *([read] if alone else [])]:
        fully_shard(part, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)


def set_communication(model: torch.nn.Module, execution: Execution, workers: WorkerGroup) -> None:
    """Set whether a sharded model's layers are resharded after the forward pass, and how gradients are averaged."""
    for layer in layers(model):
        if isinstance(layer, FSDPModule):
            layer.set_reshard_after_forward(execution.reshard_after_forward)
    for module in model.modules():
        if isinstance(module, FSDPModule) and workers.device.type == "cpu":
            module.set_force_sum_reduction_for_comms(True)  # gloo of torch 2.8 sums where a mean is asked for


def compile_layers(model: torch.nn.Module) -> None:
    """Compile each decoder layer by itself: all share one program, which later trials of this process use again.

    Only `forward` is compiled, so that FSDP2's hooks stay outside.
    """
    for layer in layers(model):
        layer.forward = torch.compile(layer.forward)


def reshard(model: torch.nn.Module) -> None:
    """Free the parameters that FSDP2 gathered for a forward pass.

    FSDP2 does so after a backward pass. An evaluation has none, and an optimizer must not be given gathered parameters.
    """
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
