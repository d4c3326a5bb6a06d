"""Trains a launch with TRL's DPOTrainer on prepared pairs, which it reads in their order, as they are.

    torchrun almr_trl_dpo.py --config trl.yaml

Each held-out set has a loss of its own, eval_NAME_loss, in which every pair counts the same.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

from datasets import load_from_disk
from torch.utils.data import SequentialSampler
from transformers import AutoTokenizer
from transformers.trainer_utils import get_last_checkpoint
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
    newest = get_last_checkpoint(settings.output_dir) if os.path.isdir(settings.output_dir) else None
    trainer.train(resume_from_checkpoint=newest)
    trainer.save_model(settings.output_dir)


if __name__ == "__main__":
    main()
