"""AdamW, with moments in float32, bfloat16 or 8 bits."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.optim.adamw import adamw

from sweep.study.errors import InputError
from sweep.study.sections.training import Optimizer


def make_optimizer(model: torch.nn.Module, recipe: Optimizer, lr: float) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices only, as the models that we continue from were trained."""
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
            group["lr"].fill_(lr)  # torchao compiles its step, for which a new number would be a new program
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
    """AdamW whose moments rest in bfloat16 and are float32 while a parameter is stepped, by torch's fused kernel.

    They are rounded to nearest: with `beta2` over 0.99 the second moment's steps are lost in the rounding.
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
        kept = [_local(state[name]) for name in ("exp_avg", "exp_avg_sq")]
        full = [moment.float() for moment in kept]
        adamw(
            [_local(parameter)],
            [_local(parameter.grad)],
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
        for moment, new in zip(kept, full, strict=True):
            moment.copy_(new)


def _local(tensor: Any) -> torch.Tensor:
    """This worker's shard."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
