"""Reads almr_launch.py with torchtitan's ConfigManager; the LRs come from torchtitan's own scheduler."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from torchtitan.config import ConfigManager


def read(folder: Path, question: dict[str, Any]) -> dict[str, Any]:
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    config = ConfigManager().parse_args(["--module", "almr_launch", "--config", "launch"])
    training = config.training
    arguments = next(group for group in config.optimizer.param_groups if group.pattern == ".*").optimizer_kwargs
    batch = training.global_batch_size * training.seq_len
    weights = {source.dataset.removeprefix("almr_"): source.weight for source in config.dataloader.sources}
    registered(weights)
    module = importlib.import_module("almr_launch")
    return {
        "parsers": "torchtitan's ConfigManager and LRSchedulersContainer",
        "lr": arguments["lr"],
        "token_shares": {name: weight / sum(weights.values()) for name, weight in weights.items()},
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
        "bos": module.BOS,
        "eos": module.EOS,
        "lrs": lrs(config, arguments["lr"], question["steps"]),
    }


def registered(weights: dict[str, float]) -> None:
    from torchtitan.hf_datasets.text_datasets import DATASETS

    assert all(f"almr_{name}" in DATASETS for name in weights), "a source is not registered"


def lrs(config: Any, lr: float, steps: list[int]) -> list[float]:
    """torchtitan builds its scheduler from a list of optimizers; the one here has no parameters of a model."""
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    made = config.lr_scheduler.build(optimizers=[optimizer], training_steps=config.training.steps)
    share = made.schedulers[0].lr_lambdas[0]
    return [lr * share(step) for step in steps]
