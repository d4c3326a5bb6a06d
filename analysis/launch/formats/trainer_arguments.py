"""Arguments of transformers' Trainer, which LLaMA-Factory and axolotl both pass on to it."""

from __future__ import annotations

from typing import Any

from analysis.launch.plan.launch_plan import LaunchPlan

Settings = dict[str, Any]


def scheduler(plan: LaunchPlan) -> tuple[str, Settings]:
    """The scheduler's name in transformers, and its keyword arguments."""
    schedule = plan.study.training.schedule
    if schedule.name == "cosine":
        return "cosine_with_min_lr", {"min_lr_rate": schedule.min_lr}
    # Without num_stable_steps, LLaMA-Factory makes a third of the steps stable, whatever the decay is.
    steps = {"num_stable_steps": plan.stable_steps, "num_decay_steps": plan.decay_steps}
    return "warmup_stable_decay", {**steps, "min_lr_ratio": schedule.min_lr}


def adamw(plan: LaunchPlan) -> Settings:
    recipe = plan.study.training.optimizer
    return {
        "adam_beta1": recipe.beta1,
        "adam_beta2": recipe.beta2,
        "adam_epsilon": recipe.epsilon,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
    }
