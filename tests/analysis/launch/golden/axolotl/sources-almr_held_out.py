"""A plugin of axolotl: the loss of each held-out set by itself, as eval_NAME_loss. axolotl has one loss for all."""

from pathlib import Path

from axolotl.integrations.base import BasePlugin
from datasets import load_from_disk

PREFIX = "held_out_"


class HeldOutSets(BasePlugin):
    def post_trainer_create(self, cfg, trainer):
        folders = [Path(one["path"]) for one in cfg.test_datasets]
        trainer.eval_dataset = {one.name.removeprefix(PREFIX): load_from_disk(str(one)) for one in folders}
