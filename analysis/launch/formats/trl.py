"""TRL 1.16: trl.yaml, a file of SFTConfig for TrlParser, and almr_trl.py, which trains on the packed text.

Facts of TRL 1.16.0 with transformers 5.23.0 behind this:
- `trl sft` has one held-out set, and loads data by name: the script gives it the packed tables, and a loss of each set.
- `skip_prepare_dataset` takes the tables as they are, and `train_sampling_strategy: sequential` reads them in order.
- Its loss is the sum over the labels of a global batch, divided by their number (`SFTTrainer.compute_loss`).
- Without an attention mask transformers keeps documents apart by their positions (`masking_utils.py`).
- The weights are float32, and bf16 computes in bfloat16.
"""

from __future__ import annotations

from pathlib import Path

from analysis.launch.formats import packed_text, trainer_arguments
from analysis.launch.formats.format import TEMPLATES, checkpoints_folder, differences, head, ratio_lines
from analysis.launch.formats.trainer_arguments import DEEPSPEED, Settings
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.scripts import yaml_text
from analysis.launch.scripts.torchrun import TORCHRUN, Command
from sweep.study.files import disk

NAME = "trl"
TRAINER = "TRL 1.16"
SCRIPT = "almr_trl"
NEWEST = "newest_checkpoint"  # the function that says what a run goes on from


def write(plan: LaunchPlan, folder: Path) -> list[str]:
    """Write the files of this format into the folder; returns warnings."""
    return write_with(plan, folder, settings(plan), ratio(plan), SCRIPT)


def write_with(plan: LaunchPlan, folder: Path, settings: Settings, ratio: list[str], script: str) -> list[str]:
    """Write trl.yaml with these settings, and the script of that name which reads it; returns warnings."""
    packed_text.write(plan, folder, NAME)
    quoted = {key: yaml_text.Quoted(v) if isinstance(v, str) else v for key, v in settings.items()}
    disk.written(folder / "trl.yaml", head(plan, TRAINER, ratio, NAME) + yaml_text.dump(quoted, width=10**6))
    disk.written(folder / f"{script}.py", text_of(script))
    trainer_arguments.write_deepspeed(plan, folder)
    return [*differences(plan, "TRL"), *trainer_arguments.warnings(plan, NAME, "TRL")]


def text_of(script: str) -> str:
    """The script of this name: it stands alone, so it has what both scripts for TRL share."""
    both, own = ((TEMPLATES / f"{name}.txt").read_text(encoding="utf-8") for name in (NEWEST, script))
    return own.replace(f"# {NEWEST}\n", both)


def settings(plan: LaunchPlan) -> Settings:
    return finished(plan, _data(plan) | _steps(plan) | _held_out(plan))


def finished(plan: LaunchPlan, parts: Settings) -> Settings:
    """With the optimizer and its schedule, and where checkpoints go, whose name depends on all of it."""
    parts = parts | trainer_arguments.learning_rate(plan, "lr_scheduler_type")
    parts |= trainer_arguments.optimizer(plan, "optim")
    saved = {"save_steps": plan.checkpoint_steps, "save_total_limit": plan.kept_checkpoints}
    return parts | {"output_dir": checkpoints_folder(plan, NAME, parts), **saved, "report_to": "none"}


def _data(plan: LaunchPlan) -> Settings:
    gpus = bool(plan.launch.gpus_per_node)
    return {
        "data": plan.data,
        "trust_remote_code": plan.study.base_model.trust_remote_code,
        "model_init_kwargs": {"dtype": "float32", "attn_implementation": "sdpa"},
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": plan.launch.sequence_length,
        "packing": False,
        "remove_unused_columns": False,
        "train_sampling_strategy": "sequential",
        "bf16": plan.precision == "bfloat16",
        "gradient_checkpointing": gpus,
        **({"deepspeed": DEEPSPEED} if gpus else {"use_cpu": True}),
    }


def _steps(plan: LaunchPlan) -> Settings:
    layout = plan.layout(NAME)
    return {
        "max_steps": plan.steps,
        "per_device_train_batch_size": layout.micro_batch,
        "gradient_accumulation_steps": layout.accumulation(plan.launch),
        "dataloader_num_workers": 4 if plan.launch.gpus_per_node else 0,
        "logging_steps": plan.study.training.log_every,
        "seed": plan.seed,
    }


def _held_out(plan: LaunchPlan) -> Settings:
    return {
        "eval_strategy": "steps",
        "eval_steps": plan.evaluation_steps,
        "eval_on_start": True,
        "per_device_eval_batch_size": plan.layout(NAME).micro_batch,
    }


def ratio(plan: LaunchPlan) -> list[str]:
    return ratio_lines(plan, packed_text.RATIO)


def command(plan: LaunchPlan) -> Command:
    return command_with(plan, settings(plan), SCRIPT)


def command_with(plan: LaunchPlan, settings: Settings, script: str) -> Command:
    """What starts the script of that name with these settings."""
    needs = "trl==1.16.0 transformers==5.23.0" + (" deepspeed" if plan.launch.gpus_per_node else "")
    return Command(
        trainer="TRL",
        settings="trl.yaml",
        usage="Arguments override trl.yaml: start.sh --max_steps 10",
        check='python -c "import trl" 2> /dev/null ||\n'
        f'    fail "trl is not installed here: pip install {needs}, or activate its environment"\n'
        + packed_text.check_model(plan).rstrip(),
        run=TORCHRUN + f'{script}.py --config trl.yaml --output_dir "$checkpoints" "$@"',
        install=f"pip install {needs}",
        prepare=packed_text.script(plan),
        checkpoints=Path(settings["output_dir"]).name,
    )
