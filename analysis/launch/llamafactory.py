"""LLaMA-Factory 0.9.5: llamafactory.yaml, dataset_info.json, the DeepSpeed file and start.sh."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import yaml

from analysis.launch import llamafactory_data
from analysis.launch.llamafactory_data import Mixture
from analysis.launch.plan import Plan
from sweep.study import InputError, Launch

HERE = Path(__file__).parent
DEEPSPEED = "deepspeed_zero3.json"
SECONDS_A_DAY = 86_400
Settings = dict[str, Any]


def write(plan: Plan, folder: Path) -> list[str]:
    """Write the files of this format into the folder; returns what to know before the launch."""
    if "${" in plan.launch.model:
        raise InputError(f"launch.model {plan.launch.model!r}: LLaMA-Factory would read ${{ as a reference: rename it")
    mixture = Mixture(plan)
    llamafactory_data.write(plan, folder)
    (folder / "llamafactory.yaml").write_text(document(plan), encoding="utf-8")
    shutil.copyfile(HERE / DEEPSPEED, folder / DEEPSPEED)
    script = folder / "start.sh"
    script.write_text(start_script(plan.launch), encoding="utf-8")
    script.chmod(0o755)
    return mixture.warnings


def sections(plan: Plan) -> dict[str, Settings]:
    """LLaMA-Factory's settings, by heading. Paths are relative to the bundle, where start.sh goes first."""
    parts = {
        "model": _model(plan),
        "data": _data(plan),
        "batch and steps": _steps(plan),
        "learning rate": _learning_rate(plan),
        "optimizer": _optimizer(plan),
    }
    return parts | {"output": _output(plan, parts)}


def _model(plan: Plan) -> Settings:
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


def _data(plan: Plan) -> Settings:
    settings = {"dataset_dir": ".", "dataset": ",".join(source.language for source in plan.used)}
    if len(plan.used) > 1:
        mixture = Mixture(plan)
        settings["mix_strategy"] = mixture.strategy
        settings["interleave_probs"] = f"{1 - mixture.probability!r},{mixture.probability!r}"
    # `packing` stays unset: pre-training packs anyway, and setting it shortens cutoff_len by one.
    return settings | {"cutoff_len": plan.launch.sequence_length, "preprocessing_num_workers": 16}


def _steps(plan: Plan) -> Settings:
    return {
        "max_steps": plan.steps,
        "per_device_train_batch_size": plan.launch.micro_batch_sequences,
        "gradient_accumulation_steps": plan.accumulation,
        "dataloader_num_workers": 4,
        "seed": plan.study.grid.seeds[0],
        # The other processes wait while the first one tokenises.
        "ddp_timeout": SECONDS_A_DAY,
    }


def _learning_rate(plan: Plan) -> Settings:
    schedule = plan.study.training.schedule
    settings: Settings = {"learning_rate": plan.lr, "warmup_steps": plan.warmup_steps}
    if schedule.name == "cosine":
        specific: Settings = {"min_lr_rate": schedule.min_lr}
        return settings | {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": specific}
    # Without num_stable_steps, LLaMA-Factory makes a third of the steps stable, whatever the decay is.
    specific = {"num_stable_steps": plan.stable_steps, "num_decay_steps": plan.decay_steps}
    specific["min_lr_ratio"] = schedule.min_lr
    return settings | {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": specific}


def _optimizer(plan: Plan) -> Settings:
    recipe = plan.study.training.optimizer
    return {
        "optim": "adamw_torch",
        "adam_beta1": recipe.beta1,
        "adam_beta2": recipe.beta2,
        "adam_epsilon": recipe.epsilon,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
    }


def _output(plan: Plan, parts: dict[str, Settings]) -> Settings:
    """Checkpoints lie beside the bundle, in a folder of these very settings.

    LLaMA-Factory continues from whatever checkpoint it finds there: after another export it must find none.
    """
    settings = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]
    return {
        "output_dir": f"../checkpoints-{plan.study.name}-{settings}",
        "save_steps": plan.checkpoint_steps,
        "logging_steps": plan.study.training.log_every,
        "report_to": "none",
    }


class _Text(str):
    """Always written in double quotes: a model may be called 1e5, null, or something with a line break."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Text, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def document(plan: Plan) -> str:
    """llamafactory.yaml: comments that say where the numbers come from, then the settings."""
    parts = [_comment(line) for line in _explanation(plan)]
    for heading, settings in sections(plan).items():
        quoted = {key: _Text(value) if isinstance(value, str) else value for key, value in settings.items()}
        text = yaml.dump(quoted, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
        parts.append(f"\n{_comment(heading)}{text}")
    return "".join(parts)


def _comment(text: str) -> str:
    """One comment line, also for text that holds line breaks or control characters."""
    visible = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return f"# {visible}".rstrip() + "\n"


def _explanation(plan: Plan) -> list[str]:
    mixture = Mixture(plan)
    mixed = len(plan.used) > 1
    warnings = [*plan.fit_warnings, *plan.warnings, *mixture.warnings]
    return [
        f"Continual pre-training of {plan.launch.model} with LLaMA-Factory 0.9.5.",
        f"The study {plan.study.name} chose its ratio and LR: see evidence.json. Run start.sh on every node.",
        *_risk_lines(plan),
        *(["", "Warnings:"] if warnings else []),
        *(f"- {warning}" for warning in warnings),
        "",
        *(_ratio_lines(mixture) if mixed else _single_lines(plan)),
        "",
        *_batch_lines(plan),
    ]


def _risk_lines(plan: Plan) -> list[str]:
    if plan.accepted_risk is None:
        return []
    count = len(plan.accepted_risk.refusals)
    return [
        f"THE FIT REFUSED THIS WINNER: the first {'warning says' if count == 1 else f'{count} warnings say'} why.",
        f"Exported all the same, for this reason: {plan.accepted_risk.reason}",
    ]


def _ratio_lines(mixture: Mixture) -> list[str]:
    a, lengths = mixture.plan.almr, mixture.lengths
    additional, original = f"{a:.6g} / {lengths['additional']:.6g}", f"{1 - a:.6g} / {lengths['original']:.6g}"
    return [
        f"Ratio: ALMR {a:.6g} is a share of tokens; interleave_probs are shares of documents, drawn before packing.",
        f"Tokens per document: original {lengths['original']:.6g}, additional {lengths['additional']:.6g}.",
        f"p(additional) = ({additional}) / ({additional} + {original}) = {mixture.probability:.6g}",
    ]


def _single_lines(plan: Plan) -> list[str]:
    return [f"Ratio: ALMR {plan.almr:.6g} leaves the {plan.used[0].language} corpus alone; there is nothing to mix."]


def _batch_lines(plan: Plan) -> list[str]:
    launch = plan.launch
    return [
        f"Batch: {launch.nodes} nodes x {launch.gpus_per_node} GPUs x {launch.micro_batch_sequences} sequences x "
        f"{plan.accumulation} accumulated x {launch.sequence_length:,} tokens = {launch.global_batch_tokens:,} tokens",
        f"Steps: {plan.steps:,} x {launch.global_batch_tokens:,} tokens = {plan.tokens:,} tokens ({plan.difference})",
    ]


def start_script(launch: Launch) -> str:
    head = [
        "#!/usr/bin/env bash",
        "# Starts the launch with LLaMA-Factory: run it on every node.",
        "# Arguments override llamafactory.yaml: start.sh max_steps=10",
        "set -euo pipefail",
        "",
        f"readonly model={shlex.quote(launch.model)}",
        f"readonly nodes={launch.nodes}",
        f"readonly gpus={launch.gpus_per_node}",
    ]
    return "\n".join(head) + "\n" + (HERE / "llamafactory_start.sh").read_text(encoding="utf-8")
