"""Reads what LLaMA-Factory leaves: `trainer_state.json` of transformers' Trainer, and the model beside it.

It divides the loss, and the gradient, by the number of labels before they are shifted (transformers 5.6,
`Trainer._get_num_items_in_batch`): L of a row, of which L - 1 are predicted, or fewer where documents are kept apart.
Here they are given over the predicted tokens, as all other trainers count.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import torch

IGNORED = -100


def read(folder: Path, checkpoints: Path, question: dict[str, Any]) -> dict[str, Any]:
    [model] = [path.parent for path in checkpoints.glob("*/config.json")]
    states = [model / "trainer_state.json", *model.glob("checkpoint-*/trainer_state.json")]
    states = [path for path in states if path.is_file()]
    history = json.loads(max(states, key=_step).read_text())["log_history"]
    packed = datasets.load_from_disk(str(data(folder)))
    scale = Counted(packed["train"], question)
    return {
        "steps": [_logged(line, scale.of(line["step"])) for line in history if "grad_norm" in line],
        "before": _held_out(history, packed, question) if _evaluated(history) else {},
        "model": str(model),
        "versions": f"LLaMA-Factory {version('llamafactory')}, transformers {version('transformers')}, "
        f"torch {torch.__version__}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def data(folder: Path) -> Path:
    """The tokenised data set, which confirmation runs share with the launch."""
    [found] = [path for path in (folder / "data" / "tokenized", folder.parent / "data" / "tokenized") if path.is_dir()]
    return found


def _step(path: Path) -> int:
    return int(json.loads(path.read_text())["global_step"])


class Counted:
    """How many labels LLaMA-Factory counts for each token that is predicted, in the rows of a step."""

    def __init__(self, rows: Any, question: dict[str, Any]) -> None:
        self.rows, self.batch, self.length = rows, question["batch_sequences"], question["sequence_length"]

    def of(self, step: int) -> float:
        first, counted = (step - 1) * self.batch, self.length * self.batch
        return float(counted / predicted(self.rows.select(range(first, first + self.batch)), self.length))


def predicted(rows: Any, length: int) -> int:
    """The tokens of some rows that are predicted."""
    if "shift_labels" not in rows.column_names:
        return len(rows) * (length - 1)
    return sum(label != IGNORED for row in rows["shift_labels"] for label in row)


def _logged(line: dict[str, Any], scale: float) -> dict[str, Any]:
    return {
        "step": line["step"],
        "loss": line["loss"] * scale,
        "lr": line["learning_rate"],
        "grad_norm": line["grad_norm"] * scale,
    }


def _evaluated(history: list[dict[str, Any]]) -> bool:
    return any(line["step"] == 0 for line in history)


def _held_out(history: list[dict[str, Any]], packed: Any, question: dict[str, Any]) -> dict[str, float]:
    """The losses before the first step, of each held-out set `validation_<name>`."""
    found, length = {}, question["sequence_length"]
    for line in history:
        for key, value in line.items():
            name = key.removeprefix("eval_").removesuffix("_loss")
            part = next((part for part in (name, f"validation_{name}") if part in packed), None)
            if line["step"] == 0 and key.endswith("_loss") and part:
                rows = packed[part]
                found[part.removeprefix("validation_")] = value * length * len(rows) / predicted(rows, length)
    return found
