"""The optimizer, AdamW with moments in float32, bfloat16 or 8 bits."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.optim.adamw import adamw

from sweep.study import InputError
from sweep.study.sections.recipe.training import Optimizer


def make_optimizer(model: torch.nn.Module, recipe: Optimizer, lr: float) -> torch.optim.Optimizer:
    """AdamW with weight decay on matrices only, as the base models were trained.

    Raises InputError for 8-bit moments without torchao.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    common: dict[str, Any] = {"lr": lr, "betas": (recipe.beta1, recipe.beta2), "eps": recipe.epsilon}
    if recipe.state == "int8":
        return _eight_bit(groups, common)
    if recipe.state == "bfloat16":
        return BFloat16Moments(groups, **common)
    return torch.optim.AdamW(groups, **common, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(lr)  # torchao's compiled step would be compiled again for a new number
        else:
            group["lr"] = lr


def _eight_bit(groups: list[dict[str, Any]], common: dict[str, Any]) -> torch.optim.Optimizer:
    try:
        from torchao.optim import AdamW8bit
    except ImportError:
        raise InputError(
            "training.optimizer.state: int8 needs torchao: pip install 'almr-sweep[kernels]', or write bfloat16"
        ) from None
    made: torch.optim.Optimizer = AdamW8bit(groups, **common)
    return made


class BFloat16Moments(torch.optim.Optimizer):
    """AdamW that stores its moments in bfloat16; a step computes in float32, with torch's fused kernel.

    Moments are rounded to nearest: with `beta2` above 0.99 the rounding swallows the second moment's updates.
    """

    def __init__(self, groups: Any, lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # ours takes no closure
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, group)

    def _step(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter, dtype=torch.bfloat16)
            state["exp_avg_sq"] = torch.zeros_like(parameter, dtype=torch.bfloat16)
        stored = [local_part(state[name]) for name in ("exp_avg", "exp_avg_sq")]
        full = [moment.float() for moment in stored]
        adamw(
            [local_part(parameter)],
            [local_part(parameter.grad)],
            [full[0]],
            [full[1]],
            [],
            [state["step"]],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        for moment, new in zip(stored, full, strict=True):
            moment.copy_(new)


def local_part(tensor: Any) -> torch.Tensor:
    """This worker's part of a sharded tensor; a plain tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
