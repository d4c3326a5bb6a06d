"""Lets torchtitan 0.3 train on a CPU, for tests: put this folder on PYTHONPATH. No file of torchtitan is changed.

torchtitan takes CUDA where torch finds no accelerator, asks of `torch.cpu` what only `torch.cuda` has, and calls
`torch.distributed.set_timeout`, which torch 2.13 does not have. Gloo cannot scale while it sums, as FSDP asks of NCCL.
Flex attention has no backward pass on a CPU: here it is torch's scaled dot-product attention with the dense form of
the same mask, so that torchtitan's own mask is tested.
"""

import importlib
import importlib.abc
import sys
from types import SimpleNamespace

AFTER = "torchtitan.trainer"  # imported by whatever trains, after torchtitan.models.common.attention can be


class Patches(importlib.abc.MetaPathFinder):
    """Patches torch before torchtitan is imported, and its attention before its trainer is."""

    def __init__(self):
        self.done = set()

    def find_spec(self, name, path=None, target=None):
        if name in ("torchtitan", AFTER) and name not in self.done:
            self.done.add(name)
            {"torchtitan": patch_torch, AFTER: patch_attention}[name]()
        return None


def patch_torch():
    import torch
    import torch._utils
    import torch.distributed
    from torch.distributed.fsdp import FSDPModule

    torch._utils._get_available_device_type = lambda: "cpu"
    torch.cpu.get_device_name = lambda device=None: "CPU"
    torch.cpu.get_device_properties = lambda device=None: SimpleNamespace(total_memory=2**34, name="CPU")
    torch.cpu.memory_stats = lambda device=None: {}
    torch.cpu.reset_peak_memory_stats = torch.cpu.empty_cache = lambda *_: None
    torch.cpu.current_device = lambda: 0
    if not hasattr(torch.distributed, "set_timeout"):
        torch.distributed.set_timeout = torch.distributed.distributed_c10d._set_pg_timeout
    divide = FSDPModule.set_gradient_divide_factor

    def with_plain_sums(self, factor):
        divide(self, factor)
        self.set_force_sum_reduction_for_comms(True)

    FSDPModule.set_gradient_divide_factor = with_plain_sums


def patch_attention():
    attention = importlib.import_module("torchtitan.models.common.attention")
    attention.FlexAttention._compiled_flex_attn = staticmethod(dense)


def dense(q, k, v, *, score_mod=None, block_mask=None, scale=None, enable_gqa=False, return_aux=None, **_):
    from torch.nn.attention.flex_attention import create_mask
    from torch.nn.functional import scaled_dot_product_attention

    assert score_mod is None
    if not hasattr(block_mask, "dense"):  # one for all layers
        block_mask.dense = create_mask(block_mask.mask_mod, q.shape[0], 1, q.shape[2], k.shape[2], device="cpu")
    out = scaled_dot_product_attention(q, k, v, attn_mask=block_mask.dense, scale=scale, enable_gqa=enable_gqa)
    return out, SimpleNamespace(lse=None)


sys.meta_path.insert(0, Patches())
