"""Reads almr_launch.py with torchtitan's ConfigManager; the LRs come from torchtitan's own scheduler.

The model's config.json need not be here: a small one stands in for it. What study.yaml states is not in this file.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from torchtitan.config import ConfigManager

SIZES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size")


def read(folder: Path, question: dict[str, Any]) -> dict[str, Any]:
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    with tempfile.TemporaryDirectory() as model:
        small = dict.fromkeys(SIZES, 8) | {"max_position_embeddings": 2**24, "rms_norm_eps": 1e-5, "head_dim": 8}
        Path(model, "config.json").write_text(json.dumps(small | {"model_type": "llama"}))
        os.environ["ALMR_MODEL"] = model
        config = ConfigManager().parse_args(["--module", "almr_launch", "--config", "launch"])
    training = config.training
    arguments = next(group for group in config.optimizer.param_groups if group.pattern == ".*").optimizer_kwargs
    batch = training.global_batch_size * training.seq_len
    return {
        "parsers": "torchtitan's ConfigManager and LRSchedulersContainer",
        "lr": arguments["lr"],
        "steps": training.steps,
        "tokens": training.steps * batch,
        "global_batch_tokens": batch,
        "sequence_length": training.seq_len,
        "checkpoint_steps": config.checkpoint.interval,
        "seed": config.debug.seed,
        "beta1": arguments["betas"][0],
        "beta2": arguments["betas"][1],
        "epsilon": arguments["eps"],
        "weight_decay": arguments["weight_decay"],
        "max_grad_norm": training.max_norm,
        "lrs": lrs(config, arguments["lr"], question["steps"]),
    }


def lrs(config: Any, lr: float, steps: list[int]) -> list[float]:
    """torchtitan builds its scheduler from a list of optimizers; the one here has no parameters of a model."""
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    made = config.lr_scheduler.build(optimizers=[optimizer], training_steps=config.training.steps)
    share = made.schedulers[0].lr_lambdas[0]
    return [lr * share(step) for step in steps]
