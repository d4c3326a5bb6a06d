"""LLaMA-Factory 0.9.5 on pairs: llamafactory.yaml with its `stage: dpo`. It reads them with `tokenized_path`.

Facts of LLaMA-Factory 0.9.5 with TRL 0.24 and transformers 5.6.0 behind this:
- `CustomDPOTrainer` takes the mean over the pairs of a micro-batch, and transformers' Trainer the mean over
  micro-batches, as it is told that the model counts nothing (`train/dpo/trainer.py`). So they have equal numbers.
- The loss of an evaluation is a mean of its batches (`Trainer.evaluation_loop`). Of several processes accelerate fills
  the last batches with pairs from the beginning, which their means count: with batches of one pair they are left out.
- A reference is made from `model_name_or_path`, also where training resumes (`train/trainer_utils.py`). Its type is
  that of the model's configuration, see trainers/preference/llamafactory.py.
- `pref_ftx`, `pref_bco_weight`, `dpo_label_smoothing` and `ld_alpha` are off by default.
"""

from __future__ import annotations

from pathlib import Path

from analysis.launch.formats import llamafactory, trainer_arguments
from analysis.launch.formats.llamafactory import NAME, TRAINER, Sections
from analysis.launch.formats.preference import trl
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.scripts.torchrun import Command

__all__ = ["NAME", "TRAINER", "command", "write"]
ABOUT = [
    "Losses in its log are nats per pair, as the trials'. Held-out pairs are taken one by one, so that their mean is",
    "exact. The reference is data/model, in float32 as the trained model.",
]


def write(plan: LaunchPlan, folder: Path) -> list[str]:
    """Write the files of this format into the folder; returns warnings."""
    return llamafactory.write_as(plan, folder, sections(plan), trl.ratio(plan), ABOUT)


def sections(plan: LaunchPlan) -> Sections:
    """LLaMA-Factory's settings, by heading. Paths are relative to the folder of start.sh."""
    recipe = plan.study.training.dpo
    assert recipe
    common = llamafactory.settings(plan)
    pairs, accumulation = trl.pairs_at_once(plan, NAME)
    steps = {"per_device_train_batch_size": pairs, "gradient_accumulation_steps": accumulation}
    parts = {
        "model": common["model"],
        "preference": {"pref_loss": trl.LOSS, "pref_beta": recipe.beta},
        "data": common["data"] | {"template": llamafactory.OWN_TEMPLATE},
        "batch and steps": common["batch and steps"] | steps,
        "learning rate": common["learning rate"],
        "optimizer": trainer_arguments.optimizer(plan, "optim"),
        "held-out losses": common["held-out losses"] | {"per_device_eval_batch_size": 1},
    }
    return llamafactory.with_output(plan, parts)


def command(plan: LaunchPlan) -> Command:
    return llamafactory.start(plan, sections(plan))
