"""Reads llamafactory.yaml with LLaMA-Factory's get_train_args; the LRs come from the scheduler of its trainer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from llamafactory.hparams import get_train_args


def read(folder: Path, question: dict[str, Any]) -> dict[str, Any]:
    os.chdir(folder)
    settings = yaml.safe_load(Path("llamafactory.yaml").read_text(encoding="utf-8"))
    # Settings that need GPUs are replaced; no number depends on them.
    settings |= {"deepspeed": None, "use_cpu": True, "output_dir": "/tmp/almr-readback"}  # noqa: S108
    model, data, training, finetuning, _ = get_train_args(settings)
    assert data.tokenized_path.endswith("data/tokenized"), f"it reads {data.tokenized_path}"
    assert finetuning.disable_shuffling, "it shuffles the blocks"
    batch = training.per_device_train_batch_size * training.gradient_accumulation_steps * question["processes"]
    if finetuning.stage == "dpo":
        refuse_other_loss(finetuning)
        batch *= 2  # the rows of a pair
    return {
        "parsers": "LLaMA-Factory's get_train_args and transformers' get_scheduler",
        "model": model.model_name_or_path,
        "lr": training.learning_rate,
        "steps": training.max_steps,
        "tokens": training.max_steps * batch * data.cutoff_len,
        "global_batch_tokens": batch * data.cutoff_len,
        "sequence_length": data.cutoff_len,
        "checkpoint_steps": training.save_steps,
        "seed": training.seed,
        "beta1": training.adam_beta1,
        "beta2": training.adam_beta2,
        "epsilon": training.adam_epsilon,
        "weight_decay": training.weight_decay,
        # Of stage pt its gradients are smaller.
        "max_grad_norm": training.max_grad_norm * (shifted(data.cutoff_len) if finetuning.stage == "pt" else 1),
        "lrs": lrs(training, question["steps"]),
        **({"beta": finetuning.pref_beta} if finetuning.stage == "dpo" else {}),
    }


def refuse_other_loss(finetuning: Any) -> None:
    """Fails for what is not the DPO loss against the model that the training begins from."""
    assert finetuning.pref_loss == "sigmoid", "it is another loss, whose base is not ln 2"
    added = {name: getattr(finetuning, name) for name in ("pref_ftx", "pref_bco_weight", "dpo_label_smoothing")}
    assert not any(added.values()), f"its loss has other terms: {added}"
    assert finetuning.ld_alpha is None, "it weights the ends of long answers otherwise"
    assert finetuning.use_ref_model, "it has no reference"
    assert finetuning.ref_model is None, "its reference is another model"


def shifted(length: int) -> float:
    return length / (length - 1)


def lrs(training: Any, steps: list[int]) -> list[float]:
    import torch
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=training.learning_rate)
    total, specific = training.max_steps, training.lr_scheduler_kwargs
    made = get_scheduler(training.lr_scheduler_type, optimizer, training.get_warmup_steps(total), total, specific)
    return [training.learning_rate * made.lr_lambdas[0](step) for step in steps]
