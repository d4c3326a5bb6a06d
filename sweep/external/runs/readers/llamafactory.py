"""Reads what LLaMA-Factory leaves: `trainer_state.json` of transformers' Trainer, and the model beside it.

It divides the loss, and the gradient, by the number of labels before they are shifted (transformers 5.6,
`Trainer._get_num_items_in_batch`): L of a row, of which L - 1 are predicted. Where documents are kept apart, both are
fewer: a border is the pad token, and no label. Here they are given over the predicted tokens, as all other trainers
count.
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
    labelled = "labels" in packed["train"].column_names  # its held-out losses are means of batches of unequal targets
    at_borders = border(folder) if "shift_labels" in packed["train"].column_names else None
    scale = Counted(packed["train"], at_borders, question)
    return {
        "steps": [_logged(line, scale.of(line["step"])) for line in history if "grad_norm" in line],
        "before": _held_out(history, packed, at_borders) if _evaluated(history) and not labelled else {},
        "model": str(model),
        "versions": f"LLaMA-Factory {version('llamafactory')}, transformers {version('transformers')}, "
        f"torch {torch.__version__}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "training_seconds": training_seconds(history),
    }


def training_seconds(history: list[dict[str, Any]]) -> float | None:
    """Of its optimizer steps: its own time, which includes the evaluations in it. None before it has ended."""
    ends = next((at for at, line in enumerate(history) if "train_runtime" in line), None)
    if ends is None:
        return None
    evaluations = sum(
        value for line in history[:ends] for key, value in line.items() if key.startswith("eval_") and key.endswith("_runtime")
    )
    return float(history[ends]["train_runtime"] - evaluations)


def data(folder: Path) -> Path:
    """The tokenised data set, which confirmation runs share with the launch."""
    [found] = [path for path in (folder / "data" / "tokenized", folder.parent / "data" / "tokenized") if path.is_dir()]
    return found


def border(folder: Path) -> int:
    """The token id at the borders of documents that is the pad token where they are kept apart."""
    about = json.loads((data(folder).parent / "blocks.json").read_text())
    return int([*about["before"], *about["after"]][-1])


def _step(path: Path) -> int:
    return int(json.loads(path.read_text())["global_step"])


class Counted:
    """How many labels LLaMA-Factory counts for each token that is predicted, in the rows of a step."""

    def __init__(self, rows: Any, border: int | None, question: dict[str, Any]) -> None:
        self.rows, self.border, self.batch = rows, border, question["batch_sequences"]

    def of(self, step: int) -> float:
        first = (step - 1) * self.batch
        return ratio(self.rows.select(range(first, first + self.batch)), self.border)


def ratio(rows: Any, border: int | None) -> float:
    """Counted labels to predicted tokens, of some rows."""
    if "labels" in rows.column_names:
        return 1.0  # the first token of a row has no label
    tokens = rows["input_ids"][:]
    if "shift_labels" not in rows.column_names:
        return len(tokens[0]) / (len(tokens[0]) - 1)
    counted = sum(token != border for row in tokens for token in row)
    return float(counted / sum(label != IGNORED for row in rows["shift_labels"][:] for label in row))


def _logged(line: dict[str, Any], scale: float) -> dict[str, Any]:
    return {
        "step": line["step"],
        "loss": line["loss"] * scale,
        "lr": line["learning_rate"],
        "grad_norm": line["grad_norm"] * scale,
    }


def _evaluated(history: list[dict[str, Any]]) -> bool:
    return any(line["step"] == 0 for line in history)


def _held_out(history: list[dict[str, Any]], packed: Any, border: int | None) -> dict[str, float]:
    """The losses before the first step, of each held-out set `validation_<name>`."""
    found = {}
    for line in history:
        for key, value in line.items():
            name = key.removeprefix("eval_").removesuffix("_loss")
            part = next((part for part in (name, f"validation_{name}") if part in packed), None)
            if line["step"] == 0 and key.endswith("_loss") and part:
                found[part.removeprefix("validation_")] = value * ratio(packed[part], border)
    return found
