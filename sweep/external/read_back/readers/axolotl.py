"""Reads axolotl.yaml with axolotl's AxolotlInputConfig; the LRs come from transformers' scheduler, as in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from axolotl.utils.schemas.config import AxolotlInputConfig


def read(folder: Path, question: dict[str, Any]) -> dict[str, Any]:
    written = yaml.safe_load((folder / "axolotl.yaml").read_text(encoding="utf-8"))
    config = AxolotlInputConfig.model_validate(written)
    kept = config.model_dump()
    lost = [name for name in written if name not in kept]
    assert not lost, f"axolotl does not know {lost}"
    assert [Path(dataset.path).name for dataset in config.datasets] == ["train"], "it reads other text"
    assert config.curriculum_sampling, "it shuffles the blocks"
    assert config.skip_prepare_dataset, "it may drop blocks"
    batch = config.micro_batch_size * config.gradient_accumulation_steps * question["processes"] * config.sequence_len
    return {
        "parsers": "axolotl's AxolotlInputConfig and transformers' get_scheduler",
        "lr": float(config.learning_rate),
        "steps": config.max_steps,
        "tokens": config.max_steps * batch,
        "global_batch_tokens": batch,
        "sequence_length": config.sequence_len,
        "checkpoint_steps": config.save_steps,
        "seed": config.seed,
        "beta1": config.adam_beta1,
        "beta2": config.adam_beta2,
        "epsilon": config.adam_epsilon,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "lrs": lrs(config, question["steps"]),
    }


def lrs(config: Any, steps: list[int]) -> list[float]:
    import torch
    from transformers import get_scheduler

    assert config.warmup_steps != 1, "axolotl makes two steps of one step of warm-up"
    lr, specific = float(config.learning_rate), config.lr_scheduler_kwargs
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    made = get_scheduler(config.lr_scheduler, optimizer, config.warmup_steps, config.max_steps, specific)
    return [lr * made.lr_lambdas[0](step) for step in steps]
