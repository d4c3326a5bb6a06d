"""Trains a launch with TRL's SFTTrainer on packed rows, which it reads in their order, as they are.

    torchrun almr_trl.py --config trl.yaml

Each held-out set has a loss of its own, eval_NAME_loss, in which every target counts the same.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import load_from_disk
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer, TrlParser

PREFIX = "held_out_"
COLUMNS = ("input_ids", "labels", "position_ids")
NO_TARGET = -100


@dataclass
class PackedRows:
    data: str = dataclasses.field(metadata={"help": "Folder that prepare.sh packed, with the model in model/"})


class InOrder(SFTTrainer):
    """Measures the mean loss over the targets of a set: the trainer averages the means of unequal batches."""

    def prediction_step(self, model, inputs, *more, **named):
        targets = int((inputs["labels"][:, 1:] != NO_TARGET).sum())
        found = super().prediction_step(model, inputs, *more, **named)
        self.sums += torch.tensor([float(found[0]) * targets, targets], dtype=torch.float64)
        return found

    def evaluation_loop(self, *arguments, metric_key_prefix="eval", **named):
        self.sums = torch.zeros(2, dtype=torch.float64)
        found = super().evaluation_loop(*arguments, metric_key_prefix=metric_key_prefix, **named)
        total, targets = self.accelerator.reduce(self.sums.to(self.args.device), "sum").tolist()
        found.metrics[f"{metric_key_prefix}_loss"] = total / targets
        return found


def collate(rows):
    """Without an attention mask: the positions say where documents begin."""
    return {name: torch.tensor([row[name] for row in rows]) for name in COLUMNS}


def newest(folder):
    """The newest checkpoint, None without one. One whose saving was cut off lacks the file that is written last."""
    named = [path for path in Path(folder).glob("checkpoint-*") if path.name[11:].isdecimal()]
    for path in sorted(named, key=lambda path: int(path.name[11:]), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return str(path)
    return None


def main():
    packed, settings = TrlParser((PackedRows, SFTConfig)).parse_args_and_config()
    data = Path(packed.data)
    model = str(data / "model")
    trainer = InOrder(
        model=model,
        args=settings,
        data_collator=collate,
        train_dataset=load_from_disk(str(data / "train")),
        eval_dataset={
            one.name.removeprefix(PREFIX): load_from_disk(str(one)) for one in sorted(data.glob(f"{PREFIX}*"))
        },
        processing_class=AutoTokenizer.from_pretrained(model, trust_remote_code=settings.trust_remote_code),
    )
    trainer.train(resume_from_checkpoint=newest(settings.output_dir))
    trainer.save_model(settings.output_dir)


if __name__ == "__main__":
    main()
