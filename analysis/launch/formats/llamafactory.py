"""LLaMA-Factory 0.9.5: llamafactory.yaml, dataset_info.json and the DeepSpeed file."""

from __future__ import annotations

import shutil
from pathlib import Path

from analysis.launch.formats import documents, llamafactory_data, trainer_arguments
from analysis.launch.formats.format import (
    DEEPSPEED,
    TEMPLATES,
    checkpoints_folder,
    comment,
    differences,
    head,
    ratio_lines,
)
from analysis.launch.formats.llamafactory_data import DocumentMixture
from analysis.launch.formats.trainer_arguments import Settings
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.scripts import yaml_text
from analysis.launch.scripts.torchrun import Command
from sweep.study import InputError

NAME = "llamafactory"
TRAINER = "LLaMA-Factory 0.9.5"
SECONDS_A_DAY = 86_400


def write(plan: LaunchPlan, folder: Path) -> list[str]:
    """Write the files of this format into the folder; returns warnings."""
    if "${" in plan.launch.model:
        raise InputError(
            f"launch.model {plan.launch.model!r}: LLaMA-Factory reads ${{ as a reference: rename the model"
        )
    documents.refuse_no_eos(plan, "LLaMA-Factory")
    llamafactory_data.write(plan, folder)
    (folder / "llamafactory.yaml").write_text(document(plan), encoding="utf-8")
    shutil.copyfile(TEMPLATES / DEEPSPEED, folder / DEEPSPEED)
    return warnings(plan)


def warnings(plan: LaunchPlan) -> list[str]:
    found = [*DocumentMixture(plan).warnings, *differences(plan, "LLaMA-Factory")]
    found += trainer_arguments.warnings(plan, NAME, "LLaMA-Factory")
    found += documents.special_strings(plan, "LLaMA-Factory")
    if plan.bos:
        found.append(
            "LLaMA-Factory puts BOS over the first token of every sequence, besides the documents' own, where "
            "tokenizer_config.json has add_bos_token: true: train with add_bos_token: false"
        )
    if plan.study.training.document_masking:
        found.append("LLaMA-Factory attends across documents, the trials did not (training.document_masking: true)")
    return found


def sections(plan: LaunchPlan) -> dict[str, Settings]:
    """LLaMA-Factory's settings, by heading. Paths are relative to the folder of start.sh."""
    parts = {
        "model": _model(plan),
        "data": _data(plan),
        "batch and steps": _steps(plan),
        "learning rate": trainer_arguments.learning_rate(plan, "lr_scheduler_type"),
        "optimizer": trainer_arguments.optimizer(plan, "optim"),
        **({"held-out losses": _held_out(plan)} if plan.evaluation_files else {}),
    }
    return parts | {"output": _output(plan, parts)}


def _model(plan: LaunchPlan) -> Settings:
    # Gradient checkpointing is on unless `disable_gradient_checkpointing` is set.
    return {
        "model_name_or_path": plan.launch.model,
        "trust_remote_code": plan.study.base_model.trust_remote_code,
        "stage": "pt",
        "do_train": True,
        "finetuning_type": "full",
        "bf16": True,
        "deepspeed": DEEPSPEED,
    }


def _data(plan: LaunchPlan) -> Settings:
    settings = {"dataset_dir": ".", "dataset": ",".join(plan.shares)}
    if len(plan.used) > 1:
        mixture = DocumentMixture(plan)
        settings["mix_strategy"] = mixture.strategy
        settings["interleave_probs"] = ",".join(map(repr, mixture.probabilities.values()))
    # `packing` stays unset: pre-training packs anyway, and setting it shortens cutoff_len by one.
    return settings | {"cutoff_len": plan.launch.sequence_length, "preprocessing_num_workers": 16}


def _steps(plan: LaunchPlan) -> Settings:
    layout = plan.layout(NAME)
    return {
        "max_steps": plan.steps,
        "per_device_train_batch_size": layout.micro_batch,
        "gradient_accumulation_steps": layout.accumulation(plan.launch),
        "dataloader_num_workers": 4,
        "seed": plan.seed,
        # The other processes wait while the first one tokenises.
        "ddp_timeout": SECONDS_A_DAY,
    }


def _held_out(plan: LaunchPlan) -> Settings:
    return {
        "eval_dataset": ",".join(map(documents.HELD_OUT.format, plan.evaluation_files)),
        "eval_on_each_dataset": True,
        "eval_strategy": "steps",
        "eval_steps": plan.evaluation_steps,
        "per_device_eval_batch_size": plan.layout(NAME).micro_batch,
    }


def _output(plan: LaunchPlan, parts: dict[str, Settings]) -> Settings:
    return {
        "output_dir": checkpoints_folder(plan, NAME, parts),
        "save_steps": plan.checkpoint_steps,
        "save_total_limit": plan.kept_checkpoints,
        "logging_steps": plan.study.training.log_every,
        "report_to": "none",
    }


def document(plan: LaunchPlan) -> str:
    """llamafactory.yaml: comments on the source of the numbers, then the settings."""
    warnings = (f"Warning: {warning}" for warning in DocumentMixture(plan).warnings)
    parts = [head(plan, TRAINER, ratio(plan), NAME, *warnings)]
    for heading, settings in sections(plan).items():
        quoted = {key: yaml_text.Quoted(value) if isinstance(value, str) else value for key, value in settings.items()}
        text = yaml_text.dump(quoted, width=10**6)
        parts.append(f"\n{comment([heading])}{text}")
    return "".join(parts)


def ratio(plan: LaunchPlan) -> list[str]:
    mixture = DocumentMixture(plan)
    lengths, drawn = mixture.lengths, mixture.probabilities
    parts = [f"{source.share:.6g} / {lengths[source.name]:.6g}" for source in plan.used]
    total = sum(source.share / lengths[source.name] for source in plan.used)
    return ratio_lines(
        plan,
        "; interleave_probs are shares of documents, drawn before packing.",
        f"Tokens per document: {', '.join(f'{plan.label(s)} {lengths[s.name]:,.1f}' for s in plan.used)}.",
        f"The probability of a document is in proportion to share / length: {' + '.join(parts)} = {total:.6g}",
        *(
            f"p({plan.label(source)}) = ({part}) / {total:.6g} = {drawn[source.name]:.6g}"
            for source, part in zip(plan.used, parts, strict=True)
        ),
    )


def command(plan: LaunchPlan) -> Command:
    return Command(
        trainer="LLaMA-Factory",
        settings="llamafactory.yaml",
        usage="Arguments override llamafactory.yaml: start.sh max_steps=10",
        check="command -v llamafactory-cli > /dev/null ||\n"
        '    fail "llamafactory-cli is not on PATH: pip install llamafactory==0.9.5 deepspeed, or activate its '
        'environment"\n'
        f"[[ -f data/{plan.used[0].name}.jsonl ]] ||\n"
        '    fail "the training text is missing: run python write_jsonl.py corpora.json data once, in this folder"\n'
        # Its launcher joins its arguments with blanks and splits them there again.
        '[[ "$checkpoints" != *[[:space:]]* ]] ||\n'
        '    fail "ALMR_CHECKPOINTS has a blank, at which llamafactory-cli would split it: name another folder"',
        run='export FORCE_TORCHRUN=1 NPROC_PER_NODE="$processes" NNODES NODE_RANK MASTER_ADDR MASTER_PORT\n'
        'exec llamafactory-cli train llamafactory.yaml output_dir="$checkpoints" "$@"',
        install="pip install llamafactory==0.9.5 deepspeed && python write_jsonl.py corpora.json data",
        checkpoints=Path(sections(plan)["output"]["output_dir"]).name,
    )
