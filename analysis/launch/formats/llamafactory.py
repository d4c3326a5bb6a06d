"""LLaMA-Factory 0.9.5: llamafactory.yaml and the DeepSpeed file. It reads the packed text, with `tokenized_path`.

Facts of LLaMA-Factory 0.9.5 with transformers 5.6.0 behind this:
- With `tokenized_path` other fields of data are not read (`data/loader.py`), but they must be there
  (`hparams/parser.py`).
- It averages a loss over the labels before they are shifted, L of a sequence, and sums those of L - 1 predictions
  (`Trainer._get_num_items_in_batch`). So losses and gradients are (L - 1) / L of ours. Adam does not see a constant
  factor, and the norm at which gradients are clipped is lowered by it. In stage sft the first token of a row has no
  label, and both counts are the same.
- It takes up the last checkpoint in `output_dir` by itself, without `overwrite_output_dir`.
"""

from __future__ import annotations

from pathlib import Path

from analysis.launch.formats import packed_text, trainer_arguments
from analysis.launch.formats.format import checkpoints_folder, comment, differences, head, ratio_lines
from analysis.launch.formats.trainer_arguments import DEEPSPEED, Settings
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.scripts import yaml_text
from analysis.launch.scripts.torchrun import TORCHRUN, Command
from sweep.study import InputError
from sweep.study.files import disk

NAME = "llamafactory"
TRAINER = "LLaMA-Factory 0.9.5"
STAGES = {"cpt": "pt", "sft": "sft", "dpo": "dpo"}  # its names
OWN_TEMPLATE = "empty"  # brings no chat template, so that the tokenizer's own stays
Sections = dict[str, Settings]


def write(plan: LaunchPlan, folder: Path) -> list[str]:
    """Write the files of this format into the folder; returns warnings."""
    return write_as(plan, folder, sections(plan), ratio(plan), _about_losses(plan))


def write_as(plan: LaunchPlan, folder: Path, parts: Sections, ratio: list[str], about: list[str]) -> list[str]:
    """As `write`, with these settings, and comments on the ratio and on the losses."""
    _refuse(plan)
    packed_text.write(plan, folder, NAME)
    disk.written(folder / "llamafactory.yaml", head(plan, TRAINER, ratio, NAME, *about) + document(parts))
    trainer_arguments.write_deepspeed(plan, folder)
    return warnings(plan)


def _refuse(plan: LaunchPlan) -> None:
    """Raises InputError for a name that LLaMA-Factory would change."""
    if "${" in plan.launch.model:
        raise InputError(
            f"launch.model {plan.launch.model!r}: LLaMA-Factory reads ${{ as a reference: rename the model"
        )


def warnings(plan: LaunchPlan) -> list[str]:
    return [*differences(plan, "LLaMA-Factory"), *trainer_arguments.warnings(plan, NAME, "LLaMA-Factory")]


def sections(plan: LaunchPlan) -> Sections:
    """LLaMA-Factory's settings, by heading. Paths are relative to the folder of start.sh."""
    return with_output(plan, settings(plan))


def settings(plan: LaunchPlan) -> Sections:
    """The sections that its folder of checkpoints is named by."""
    return {
        "model": _model(plan),
        "data": _data(plan),
        "batch and steps": _steps(plan),
        "learning rate": trainer_arguments.learning_rate(plan, "lr_scheduler_type"),
        "optimizer": trainer_arguments.optimizer(plan, "optim") | {"max_grad_norm": _max_grad_norm(plan)},
        "held-out losses": _held_out(plan),
    }


def with_output(plan: LaunchPlan, parts: Sections) -> Sections:
    return parts | {"output": _output(plan, parts)}


def _model(plan: LaunchPlan) -> Settings:
    """The folder with the tokenizer that suits the packed text, see trainers/packing/llamafactory.py."""
    found = {
        "model_name_or_path": f"{plan.data}/model",
        "trust_remote_code": plan.study.base_model.trust_remote_code,
        "stage": STAGES[plan.study.training.stage],
        "do_train": True,
        "finetuning_type": "full",
        "bf16": plan.precision == "bfloat16",
    }
    if plan.launch.gpus_per_node:
        return found | {"deepspeed": DEEPSPEED}
    return found | {"use_cpu": True, "disable_gradient_checkpointing": True}


def _data(plan: LaunchPlan) -> Settings:
    # `packing` stays unset: setting it shortens cutoff_len by one.
    return {
        "tokenized_path": f"{plan.data}/tokenized",
        "disable_shuffling": True,
        "dataset_dir": ".",
        "dataset": "packed",
        "cutoff_len": plan.launch.sequence_length,
        **(_conversations(plan) if plan.study.training.stage == "sft" else {}),
    }


def _conversations(plan: LaunchPlan) -> Settings:
    """Rows are packed already: with `neat_packing` their masks keep conversations apart."""
    return {"template": OWN_TEMPLATE, "neat_packing": plan.study.training.document_masking}


def _steps(plan: LaunchPlan) -> Settings:
    layout = plan.layout(NAME)
    return {
        "max_steps": plan.steps,
        "per_device_train_batch_size": layout.micro_batch,
        "gradient_accumulation_steps": layout.accumulation(plan.launch),
        "dataloader_num_workers": 4 if plan.launch.gpus_per_node else 0,
        "seed": plan.seed,
    }


def _max_grad_norm(plan: LaunchPlan) -> float:
    length, norm = plan.launch.sequence_length, plan.study.training.optimizer.max_grad_norm
    return norm if plan.study.training.stage == "sft" else norm * (length - 1) / length


def _held_out(plan: LaunchPlan) -> Settings:
    return {
        "eval_dataset": ",".join(plan.held_out_sets),
        "eval_on_each_dataset": True,
        "eval_strategy": "steps",
        "eval_steps": plan.evaluation_steps,
        "eval_on_start": True,
        "per_device_eval_batch_size": plan.layout(NAME).micro_batch,
    }


def _output(plan: LaunchPlan, parts: Sections) -> Settings:
    return {
        "output_dir": checkpoints_folder(plan, NAME, parts),
        "save_steps": plan.checkpoint_steps,
        "save_total_limit": plan.kept_checkpoints,
        "logging_steps": plan.study.training.log_every,
        "report_to": "none",
    }


def document(parts: Sections) -> str:
    """The settings of llamafactory.yaml, under their headings."""
    written = []
    for heading, section in parts.items():
        quoted = {key: yaml_text.Quoted(value) if isinstance(value, str) else value for key, value in section.items()}
        text = yaml_text.dump(quoted, width=10**6)
        written.append(f"\n{comment([heading])}{text}")
    return "".join(written)


def _about_losses(plan: LaunchPlan) -> list[str]:
    if plan.study.training.stage == "sft":
        return ["Its held-out losses are means of batches, whose numbers of targets differ: they are not the trials'."]
    length = plan.launch.sequence_length
    return [
        f"Losses in its log, of training and held-out text, are {length - 1:,}/{length:,} of nats per token.",
        "The trained model's tokenizer has another pad token than the base model's, which it can be replaced by.",
    ]


def ratio(plan: LaunchPlan) -> list[str]:
    return ratio_lines(plan, packed_text.RATIO)


def command(plan: LaunchPlan) -> Command:
    return start(plan, sections(plan))


def start(plan: LaunchPlan, parts: Sections) -> Command:
    """What starts it with these settings."""
    needs = "llamafactory==0.9.5 deepspeed" if plan.launch.gpus_per_node else "llamafactory==0.9.5"
    return Command(
        trainer="LLaMA-Factory",
        settings="llamafactory.yaml",
        usage="Arguments override llamafactory.yaml: start.sh max_steps=10",
        check="command -v llamafactory-cli > /dev/null ||\n"
        f'    fail "llamafactory-cli is not on PATH: pip install {needs}, or activate its environment"\n'
        + packed_text.check_model(plan),
        # As llamafactory-cli starts it, but for the rendezvous: its own one does not start a failed group again.
        run=trainer_arguments.WHOLE_CHECKPOINTS
        + 'export PYTORCH_CUDA_ALLOC_CONF="${PYTORCH_CUDA_ALLOC_CONF:-expandable_segments:True}"\n'
        + TORCHRUN
        + '-m llamafactory.launcher llamafactory.yaml output_dir="$checkpoints" "$@"',
        install=f"pip install {needs}",
        prepare=packed_text.script(plan),
        checkpoints=Path(parts["output"]["output_dir"]).name,
    )
