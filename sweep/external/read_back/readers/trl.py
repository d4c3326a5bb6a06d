"""Reads trl.yaml with TRL's TrlParser and SFTConfig, or DPOConfig of preference pairs. The LRs come from transformers'
scheduler, as in training.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

trl: Any = importlib.import_module("trl")  # it does not name to type checkers what it exports


@dataclass
class PackedRows:
    """As the script that trains declares it."""

    data: str = field(metadata={"help": "Folder of the packed text"})


def read(folder: Path, question: dict[str, Any]) -> dict[str, Any]:
    os.chdir(folder)
    written = yaml.safe_load(Path("trl.yaml").read_text(encoding="utf-8"))
    pairs = "beta" in written  # of preference optimisation
    # Settings that need GPUs are replaced; no number depends on them.
    written = {k: v for k, v in written.items() if k != "deepspeed"} | {"use_cpu": True, "output_dir": "/nowhere"}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(written, file)
        file.flush()
        sys.argv = ["almr_trl.py", "--config", file.name]
        packed, config = trl.TrlParser((PackedRows, trl.DPOConfig if pairs else trl.SFTConfig)).parse_args_and_config()
    assert Path(packed.data).name == "data", f"it reads {packed.data}"
    if pairs:
        assert config.loss_type == ["sigmoid"], "it is another loss, whose base is not ln 2"
        assert Path("almr_trl_dpo.py").is_file(), "no script takes the pairs in their order"
    else:
        assert config.train_sampling_strategy == "sequential", "it shuffles the rows"
        assert config.dataset_kwargs == {"skip_prepare_dataset": True}, "it may drop rows"
    batch = config.per_device_train_batch_size * config.gradient_accumulation_steps * question["processes"]
    batch *= 2 if pairs else 1  # the rows of a pair
    return {
        "parsers": f"TRL's TrlParser and {type(config).__name__}, and transformers' get_scheduler",
        "lr": config.learning_rate,
        "steps": config.max_steps,
        "tokens": config.max_steps * batch * config.max_length,
        "global_batch_tokens": batch * config.max_length,
        "sequence_length": config.max_length,
        "checkpoint_steps": config.save_steps,
        "seed": config.seed,
        "beta1": config.adam_beta1,
        "beta2": config.adam_beta2,
        "epsilon": config.adam_epsilon,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "lrs": lrs(config, question["steps"]),
        **({"beta": config.beta} if pairs else {}),
    }


def lrs(config: Any, steps: list[int]) -> list[float]:
    import torch
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=config.learning_rate)
    total, specific = config.max_steps, config.lr_scheduler_kwargs
    made = get_scheduler(config.lr_scheduler_type, optimizer, config.get_warmup_steps(total), total, specific)
    return [config.learning_rate * made.lr_lambdas[0](step) for step in steps]
