"""axolotl 0.19: axolotl.yaml, the DeepSpeed file, and almr_losses.py, a plugin. It reads the packed text as it is.

Facts of axolotl 0.19.0 with transformers 5.16.1 behind this:
- Unknown keys are silently ignored.
- `skip_prepare_dataset` takes tables as they are; else it copies them, and drops rows (`utils/data/sft.py`).
- `curriculum_sampling` reads rows in their order (`core/trainers/base.py`).
- With `sample_packing` rows may have positions of their own. Attention keeps documents apart by them with `sdpa`, as
  with flash attention, but only where it is named (`attn_decontaminates_packing` of `utils/schemas/config.py`).
- Several `test_datasets` are one set with one loss: the plugin makes a set of each.
- Its Trainer divides the loss of each micro-batch by its own number of targets: the plugin lets it count those of the
  global batch, as the model's loss can take them.
- It loads the best model at the end where both are measured and saved at the same steps, unless told not to.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from analysis.launch.formats import packed_text, trainer_arguments
from analysis.launch.formats.format import TEMPLATES, checkpoints_folder, differences, head, ratio_lines
from analysis.launch.formats.trainer_arguments import DEEPSPEED, Settings
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.scripts.torchrun import TORCHRUN, Command
from sweep.study.files import disk

NAME = "axolotl"
TRAINER = "axolotl 0.19"
PLUGIN = "almr_losses"


def write(plan: LaunchPlan, folder: Path) -> list[str]:
    """Write the files of this format into the folder; returns warnings."""
    packed_text.write(plan, folder, NAME)
    text = yaml.safe_dump(settings(plan), sort_keys=False, allow_unicode=True, width=10**6)
    disk.written(folder / "axolotl.yaml", head(plan, TRAINER, ratio(plan), NAME) + text)
    shutil.copyfile(TEMPLATES / f"{PLUGIN}.txt", folder / f"{PLUGIN}.py")
    trainer_arguments.write_deepspeed(plan, folder)
    return warnings(plan)


def settings(plan: LaunchPlan) -> Settings:
    parts = _model(plan) | _data(plan) | _held_out(plan) | _steps(plan)
    parts |= trainer_arguments.learning_rate(plan, "lr_scheduler") | trainer_arguments.optimizer(plan, "optimizer")
    saved = {"save_steps": plan.checkpoint_steps, "save_total_limit": plan.kept_checkpoints}
    return parts | {"output_dir": checkpoints_folder(plan, NAME, parts), **saved, "auto_resume_from_checkpoints": True}


def _model(plan: LaunchPlan) -> Settings:
    gpus, base = bool(plan.launch.gpus_per_node), plan.study.base_model
    revision = base.revision if plan.launch.model == base.pretrained else None
    return {
        "base_model": plan.launch.model,
        **({"revision_of_model": revision} if revision else {}),
        "trust_remote_code": base.trust_remote_code,
        "bf16": plan.precision == "bfloat16",
        "attn_implementation": "sdpa",
        "gradient_checkpointing": gpus,
        **({"deepspeed": DEEPSPEED} if gpus else {}),
    }


def _data(plan: LaunchPlan) -> Settings:
    masked = plan.study.training.document_masking
    return {
        "datasets": [_table(plan, "train")],
        "skip_prepare_dataset": True,
        "curriculum_sampling": True,
        "shuffle_merged_datasets": False,
        "sequence_len": plan.launch.sequence_length,
        "pad_to_sequence_len": False,
        "sample_packing": masked,
        **({"sample_packing_sequentially": True, "eval_sample_packing": True} if masked else {}),
    }


def _held_out(plan: LaunchPlan) -> Settings:
    """Beginning with the losses of the base model: axolotl sets `eval_on_start` itself."""
    return {
        "test_datasets": [_table(plan, f"held_out_{name}") for name in plan.held_out_sets],
        "plugins": [f"{PLUGIN}.TrialLosses"],
        "eval_steps": plan.evaluation_steps,
        "load_best_model_at_end": False,
    }


def _table(plan: LaunchPlan, name: str) -> Settings:
    return {"path": f"{plan.data}/{name}", "type": "completion"}


def _steps(plan: LaunchPlan) -> Settings:
    layout = plan.layout(NAME)
    return {
        "max_steps": plan.steps,
        "num_epochs": 1,
        "micro_batch_size": layout.micro_batch,
        "gradient_accumulation_steps": layout.accumulation(plan.launch),
        "logging_steps": plan.study.training.log_every,
        "seed": plan.seed,
    }


def warnings(plan: LaunchPlan) -> list[str]:
    return [*differences(plan, "axolotl"), *trainer_arguments.warnings(plan, NAME, "axolotl")]


def ratio(plan: LaunchPlan) -> list[str]:
    return ratio_lines(plan, packed_text.RATIO)


def command(plan: LaunchPlan) -> Command:
    needs = "axolotl[deepspeed]==0.19.0" if plan.launch.gpus_per_node else "axolotl==0.19.0"
    cpu = "" if plan.launch.gpus_per_node else "export ACCELERATE_USE_CPU=true\n"
    return Command(
        trainer="axolotl",
        settings="axolotl.yaml",
        usage="Arguments override axolotl.yaml: start.sh --max-steps 10",
        check="command -v axolotl > /dev/null ||\n"
        f"    fail \"axolotl is not on PATH: pip install '{needs}', or activate its environment\"\n"
        + packed_text.check(plan).rstrip(),
        run=trainer_arguments.WHOLE_CHECKPOINTS
        + f'{cpu}export PYTHONPATH="$PWD${{PYTHONPATH:+:$PYTHONPATH}}"\n'
        + TORCHRUN
        + '-m axolotl.cli.train axolotl.yaml --output-dir "$checkpoints" "$@"',
        install=f"pip install '{needs}'",
        prepare=packed_text.script(plan),
        checkpoints=Path(settings(plan)["output_dir"]).name,
    )
