"""Arguments of transformers' Trainer, which LLaMA-Factory and axolotl both pass on to it, and its DeepSpeed file.

In DeepSpeed 0.19 ZeRO-3 sums gradients in the model's type, in the sum over GPUs (`communication_data_type`) and over
micro-batches (`data_types.grad_accum_dtype`, `runtime/engine.py`): the file states float32 for both. The optimizer has
float32 weights.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from analysis.launch.formats.format import TEMPLATES
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.plan.schedule import as_cosine, difference

DEEPSPEED = "deepspeed_zero3.json"
# Bash for start.sh, before the trainer: it goes on from the checkpoint with the highest step, whole or not. All nodes
# wait for the first one.
WHOLE_CHECKPOINTS = """# A checkpoint whose saving was cut off lacks its last file, and no run can go on from it.
if ((NODE_RANK == 0)); then
    for kept in "$checkpoints"/checkpoint-*/; do
        if [[ "$kept" =~ /checkpoint-[0-9]+/$ && -d "$kept" && ! -s "${kept}trainer_state.json" ]]; then
            printf 'start.sh: %s was cut off, and is removed\\n' "$kept" >&2
            rm -rf -- "$kept"
        fi
    done
fi
"""
Settings = dict[str, Any]


def write_deepspeed(plan: LaunchPlan, folder: Path) -> None:
    """Write the DeepSpeed file, where the launch has GPUs."""
    if plan.launch.gpus_per_node:
        shutil.copyfile(TEMPLATES / DEEPSPEED, folder / DEEPSPEED)


def learning_rate(plan: LaunchPlan, field: str) -> Settings:
    """The LR and its schedule; `field` holds the scheduler's name."""
    wanted = plan.schedule
    if as_cosine(wanted):  # its warm-up steps include the one at the peak
        warmup, name, arguments = wanted.warmup + 1, "cosine_warmup_with_min_lr", {"min_lr_rate": wanted.min_lr}
    else:
        # `taken` has the reason for the first line. Its decay begins with the last step at the peak. Without
        # num_stable_steps, LLaMA-Factory makes a third of the steps stable, whatever the decay is.
        warmup, name = wanted.warmup if wanted.warmup > 1 else 0, "warmup_stable_decay"
        steps = {"num_stable_steps": wanted.peak[-1] - warmup, "num_decay_steps": wanted.decay}
        arguments = {**steps, "min_lr_ratio": wanted.min_lr}
    return {"learning_rate": plan.lr, "warmup_steps": warmup, field: name, "lr_scheduler_kwargs": arguments}


def warnings(plan: LaunchPlan, name: str, trainer: str) -> list[str]:
    """How the format's LRs differ from those of the trials' schedule."""
    found = difference(plan.schedule, name, trainer)
    return [found] if found else []


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
