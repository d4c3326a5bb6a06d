"""Reads llamafactory.yaml with LLaMA-Factory's get_train_args; the LRs come from the scheduler of its trainer."""

from __future__ import annotations

import json
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
    model, data, training, *_ = get_train_args(settings)
    batch = training.per_device_train_batch_size * training.gradient_accumulation_steps * question["processes"]
    return {
        "parsers": "LLaMA-Factory's get_train_args and transformers' get_scheduler",
        "model": model.model_name_or_path,
        "lr": training.learning_rate,
        "document_shares": shares(data),
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
        "max_grad_norm": training.max_grad_norm,
        "bos": json.loads(Path("corpora.json").read_text(encoding="utf-8"))["bos"],
        "eos": True,  # data/processor/pretrain.py adds it always
        "lrs": lrs(training, question["steps"]),
    }


def shares(data: Any) -> dict[str, float]:
    """Share of documents by corpus; every name must be in dataset_info.json."""
    known = json.loads(Path("dataset_info.json").read_text(encoding="utf-8"))
    assert set(data.dataset) <= set(known), f"{data.dataset} are not all in dataset_info.json"
    if len(data.dataset) == 1:
        return {data.dataset[0]: 1.0}
    assert data.mix_strategy.startswith("interleave")
    return dict(zip(data.dataset, data.interleave_probs, strict=True))


def lrs(training: Any, steps: list[int]) -> list[float]:
    import torch
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=training.learning_rate)
    total, specific = training.max_steps, training.lr_scheduler_kwargs
    made = get_scheduler(training.lr_scheduler_type, optimizer, training.get_warmup_steps(total), total, specific)
    return [training.learning_rate * made.lr_lambdas[0](step) for step in steps]
