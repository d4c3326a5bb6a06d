"""Trains a launch with TRL's DPOTrainer on prepared pairs, which it reads in their order, as they are.

    torchrun almr_trl_dpo.py --config trl.yaml

Each held-out set has a loss of its own, eval_NAME_loss, in which every pair counts the same.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from datasets import load_from_disk
from torch.utils.data import SequentialSampler
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer, TrlParser

PREFIX = "held_out_"


@dataclass
class PreparedPairs:
    data: str = dataclasses.field(metadata={"help": "Folder that prepare.sh wrote, with the model in model/"})


class InOrder(DPOTrainer):
    """Takes pairs that are token ids already, one after another."""

    def _prepare_dataset(self, dataset, *more, **named):
        return dataset

    def _get_train_sampler(self, train_dataset=None):
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)


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
    prepared, settings = TrlParser((PreparedPairs, DPOConfig)).parse_args_and_config()
    data = Path(prepared.data)
    model = str(data / "model")
    held_out = {one.name.removeprefix(PREFIX): load_from_disk(str(one)) for one in sorted(data.glob(f"{PREFIX}*"))}
    trainer = InOrder(
        model=model,
        args=settings,
        train_dataset=load_from_disk(str(data / "train")),
        eval_dataset=held_out,
        processing_class=AutoTokenizer.from_pretrained(model, trust_remote_code=settings.trust_remote_code),
    )
    trainer.train(resume_from_checkpoint=newest(settings.output_dir))
    trainer.save_model(settings.output_dir)


if __name__ == "__main__":
    main()
