"""A plugin of axolotl that gives it the losses of the trials.

Each held-out set has a loss of its own, eval_NAME_loss: axolotl has one for all. And every target of a global batch
counts the same: axolotl 0.19 averages the means of micro-batches, which have unequal numbers of targets where documents
are kept apart.
"""

from pathlib import Path

from axolotl.integrations.base import BasePlugin
from datasets import load_from_disk

PREFIX = "held_out_"


class TrialLosses(BasePlugin):
    def post_trainer_create(self, cfg, trainer):
        folders = [Path(one["path"]) for one in cfg.test_datasets]
        trainer.eval_dataset = {one.name.removeprefix(PREFIX): load_from_disk(str(one)) for one in folders}
        trainer.model_accepts_loss_kwargs = True  # the number of targets of the global batch, which divides their sum
