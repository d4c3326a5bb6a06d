"""Arguments of transformers' Trainer, which LLaMA-Factory and axolotl both pass on to it."""

from __future__ import annotations

from typing import Any

from analysis.launch.plan.launch_plan import LaunchPlan

Settings = dict[str, Any]


def learning_rate(plan: LaunchPlan, field: str) -> Settings:
    """The LR and its schedule; `field` holds the scheduler's name."""
    schedule, parts = plan.study.training.schedule, plan.parts
    if schedule.name == "cosine":
        name, arguments = "cosine_with_min_lr", {"min_lr_rate": schedule.min_lr}
    else:
        # Without num_stable_steps, LLaMA-Factory makes a third of the steps stable, whatever the decay is.
        steps = {"num_stable_steps": parts.stable, "num_decay_steps": parts.decay}
        name, arguments = "warmup_stable_decay", {**steps, "min_lr_ratio": schedule.min_lr}
    return {"learning_rate": plan.lr, "warmup_steps": parts.warmup, field: name, "lr_scheduler_kwargs": arguments}


def optimizer(plan: LaunchPlan, field: str) -> Settings:
    """AdamW; `field` holds its name."""
    recipe = plan.study.training.optimizer
    return {
        field: "adamw_torch",
        "adam_beta1": recipe.beta1,
        "adam_beta2": recipe.beta2,
        "adam_epsilon": recipe.epsilon,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
    }
