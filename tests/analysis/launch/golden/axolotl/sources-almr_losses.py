"""A plugin of axolotl that gives it the losses of the trials.

Each held-out set has a loss of its own, eval_NAME_loss: axolotl has one for all. And every target counts the same, of a
global batch and of a held-out set: axolotl 0.19 averages the means of micro-batches, which have unequal numbers of
targets where documents are kept apart, and where the last one of a set is smaller. With sample packing it would leave
that one out.
"""

from pathlib import Path

import torch
from axolotl.integrations.base import BasePlugin
from datasets import load_from_disk
from torch.utils.data import BatchSampler, SequentialSampler

PREFIX = "held_out_"
NO_TARGET = -100


class TrialLosses(BasePlugin):
    def post_trainer_create(self, cfg, trainer):
        folders = [Path(one["path"]) for one in cfg.test_datasets]
        trainer.eval_dataset = {one.name.removeprefix(PREFIX): load_from_disk(str(one)) for one in folders}
        trainer.model_accepts_loss_kwargs = True  # the number of targets of the global batch, which divides their sum
        count_targets(trainer)
        if cfg.sample_packing:
            size = trainer.args.per_device_train_batch_size
            trainer._get_eval_sampler = lambda rows: Batches(SequentialSampler(rows), size, drop_last=False)


class Batches(BatchSampler):
    """All rows of a set, each a pack of its own."""

    def __iter__(self):
        for batch in super().__iter__():
            yield [[row] for row in batch]


def count_targets(trainer):
    """Have the trainer's evaluation give the mean over the targets of a set."""
    measure, evaluate, sums = trainer.prediction_step, trainer.evaluation_loop, torch.zeros(2, dtype=torch.float64)

    def measured(model, inputs, *more, **named):
        targets = int((inputs["labels"][:, 1:] != NO_TARGET).sum())
        found = measure(model, inputs, *more, **named)
        sums.add_(torch.tensor([float(found[0]) * targets, targets], dtype=torch.float64))
        return found

    def evaluated(*arguments, metric_key_prefix="eval", **named):
        sums.zero_()
        found = evaluate(*arguments, metric_key_prefix=metric_key_prefix, **named)
        total, targets = trainer.accelerator.reduce(sums.to(trainer.args.device), "sum").tolist()
        found.metrics[f"{metric_key_prefix}_loss"] = total / targets
        return found

    trainer.prediction_step, trainer.evaluation_loop = measured, evaluated
