"""TRL 1.16 on pairs: trl.yaml, a file of DPOConfig for TrlParser, and almr_trl_dpo.py, which trains on prepared pairs.

Facts of TRL 1.16.0 with transformers 5.23.0 behind this:
- `trl dpo` tokenises and shuffles by itself. The script takes token ids as they are, in their order: no setting of it
  mixes languages by tokens.
- The loss of a step is the mean over its pairs, whatever their lengths (`DPOTrainer._compute_loss`), and a mean of
  means over micro-batches of equal numbers of pairs.
- The reference is loaded from the model's folder, in its type: `model_init_kwargs` states float32 for both.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from analysis.launch.formats import packed_text, trainer_arguments
from analysis.launch.formats.format import TEMPLATES, checkpoints_folder, differences, head, ratio_lines
from analysis.launch.formats.trainer_arguments import DEEPSPEED, Settings
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.scripts import yaml_text
from analysis.launch.scripts.torchrun import TORCHRUN, Command
from sweep.study import InputError
from sweep.study.files import disk

NAME = "trl"
TRAINER = "TRL 1.16"
SCRIPT = "almr_trl_dpo"
LOSS = "sigmoid"
RATIO = ", met to within half of a pair: prepare.sh writes the pairs in their order."


def write(plan: LaunchPlan, folder: Path) -> list[str]:
    """Write the files of this format into the folder; returns warnings."""
    packed_text.write(plan, folder, NAME)
    quoted = {key: yaml_text.Quoted(v) if isinstance(v, str) else v for key, v in settings(plan).items()}
    disk.written(folder / "trl.yaml", head(plan, TRAINER, ratio(plan), NAME) + yaml_text.dump(quoted, width=10**6))
    shutil.copyfile(TEMPLATES / f"{SCRIPT}.txt", folder / f"{SCRIPT}.py")
    trainer_arguments.write_deepspeed(plan, folder)
    return [*differences(plan, "TRL"), *trainer_arguments.warnings(plan, NAME, "TRL")]


def settings(plan: LaunchPlan) -> Settings:
    parts = _data(plan) | _loss(plan) | _steps(plan)
    parts |= trainer_arguments.learning_rate(plan, "lr_scheduler_type") | trainer_arguments.optimizer(plan, "optim")
    saved = {"save_steps": plan.checkpoint_steps, "save_total_limit": plan.kept_checkpoints}
    return parts | {"output_dir": checkpoints_folder(plan, NAME, parts), **saved, "report_to": "none"}


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
    needs = "trl==1.16.0 transformers==5.23.0" + (" deepspeed" if plan.launch.gpus_per_node else "")
    return Command(
        trainer="TRL",
        settings="trl.yaml",
        usage="Arguments override trl.yaml: start.sh --max_steps 10",
        check='python -c "import trl" 2> /dev/null ||\n'
        f'    fail "trl is not installed here: pip install {needs}, or activate its environment"\n'
        + packed_text.check(plan).rstrip(),
        run=TORCHRUN + f'{SCRIPT}.py --config trl.yaml --output_dir "$checkpoints" "$@"',
        install=f"pip install {needs}",
        prepare=packed_text.script(plan),
        checkpoints=Path(settings(plan)["output_dir"]).name,
    )
