"""TRL 1.16 on pairs: trl.yaml, a file of DPOConfig for TrlParser, and almr_trl_dpo.py, which trains on prepared pairs.

Facts of TRL 1.16.0 with transformers 5.23.0 behind this:
- `trl dpo` tokenises and shuffles by itself. The script takes token ids as they are, in their order: no setting of it
  mixes languages by tokens.
- The loss of a step is the mean over its pairs, whatever their lengths (`DPOTrainer._compute_loss`), and a mean of
  means over micro-batches of equal numbers of pairs.
- The reference is loaded from the model's folder, in its type: `model_init_kwargs` states float32 for both.
"""

from __future__ import annotations

from pathlib import Path

from analysis.launch.formats import trl
from analysis.launch.formats.format import ratio_lines
from analysis.launch.formats.trainer_arguments import DEEPSPEED, Settings
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.scripts.torchrun import Command
from sweep.study import InputError

NAME, TRAINER = trl.NAME, trl.TRAINER
SCRIPT = "almr_trl_dpo"
LOSS = "sigmoid"
RATIO = ", met to within half of a pair: prepare.sh writes the pairs in their order."


def write(plan: LaunchPlan, folder: Path) -> list[str]:
    """Write the files of this format into the folder; returns warnings."""
    return trl.write_with(plan, folder, settings(plan), ratio(plan), SCRIPT)


def settings(plan: LaunchPlan) -> Settings:
    return trl.finished(plan, _data(plan) | _loss(plan) | _steps(plan))


def _data(plan: LaunchPlan) -> Settings:
    gpus = bool(plan.launch.gpus_per_node)
    return {
        "data": plan.data,
        "trust_remote_code": plan.study.base_model.trust_remote_code,
        "model_init_kwargs": {"dtype": "float32", "attn_implementation": "sdpa"},
        "max_length": plan.launch.sequence_length,
        "bf16": plan.precision == "bfloat16",
        "gradient_checkpointing": gpus,
        **({"deepspeed": DEEPSPEED} if gpus else {"use_cpu": True}),
    }


def _loss(plan: LaunchPlan) -> Settings:
    recipe = plan.study.training.dpo
    assert recipe
    return {"beta": recipe.beta, "loss_type": [LOSS]}


def _steps(plan: LaunchPlan) -> Settings:
    pairs, accumulation = pairs_at_once(plan, NAME)
    return {
        "max_steps": plan.steps,
        "per_device_train_batch_size": pairs,
        "gradient_accumulation_steps": accumulation,
        "per_device_eval_batch_size": pairs,
        "eval_strategy": "steps",
        "eval_steps": plan.evaluation_steps,
        "eval_on_start": True,
        "logging_steps": plan.study.training.log_every,
        "seed": plan.seed,
    }


def pairs_at_once(plan: LaunchPlan, name: str) -> tuple[int, int]:
    """Pairs of a device's forward pass, each of two rows, and passes of an optimizer step. Raises InputError where the
    devices cannot share the pairs of a step equally.
    """
    launch = plan.launch
    step, devices = launch.global_batch_tokens // launch.sequence_length // 2, launch.processes
    if step % devices:
        raise InputError(
            f"launch.global_batch_tokens: {step} pairs of answers, two sequences each, are not shared equally by "
            f"{devices} processes: write a multiple of {2 * launch.sequence_length * devices}"
        )
    own, most = step // devices, max(1, plan.layout(name).micro_batch // 2)
    pairs = next(n for n in range(min(own, most), 0, -1) if own % n == 0)
    return pairs, own // pairs


def ratio(plan: LaunchPlan) -> list[str]:
    return ratio_lines(plan, RATIO)


def command(plan: LaunchPlan) -> Command:
    return trl.command_with(plan, settings(plan), SCRIPT)
