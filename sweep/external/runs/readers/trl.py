"""Reads what TRL leaves: `trainer_state.json` of transformers' Trainer in its newest checkpoint, and the model.

Its loss is the mean over the targets of a global batch, as our own trainer's.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

KEYS = {"step": "step", "loss": "loss", "lr": "learning_rate", "grad_norm": "grad_norm"}


def read(folder: Path, checkpoints: Path, question: dict[str, Any]) -> dict[str, Any]:
    states = {
        int(path.parent.name.split("-")[1]): path for path in checkpoints.glob("*/checkpoint-*/trainer_state.json")
    }
    newest = states[max(states)]
    history = json.loads(newest.read_text())["log_history"]
    return {
        "steps": [{name: line.get(key) for name, key in KEYS.items()} for line in history if "grad_norm" in line],
        "before": {
            key.removeprefix("eval_").removesuffix("_loss"): value
            for line in history
            if line["step"] == 0
            for key, value in line.items()
            if key.startswith("eval_") and key.endswith("_loss")
        },
        "model": str(newest.parent),
        "versions": f"TRL {version('trl')}, transformers {version('transformers')}, torch {torch.__version__}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
