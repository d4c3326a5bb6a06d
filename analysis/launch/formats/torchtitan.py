"""torchtitan 0.3: almr_launch.py, since its configuration is a Python module, and what that module imports.

almr_model.py reads the model's architecture from the config.json of its folder when the launch starts; almr_trainer.py
reads the blocks that prepare.sh packs; lr_schedule.py is a copy of ours.

Facts of torchtitan 0.3.0 behind this (read, and trained): its own text loader gives all ranks the same draws of
languages, and its own schedule stays at the peak for a step after the warm-up (components/optimizer/lr_scheduler.py).
Positions that restart keep documents apart, positions that do not restart give plain causal attention
(models/common/decoder.py). The loss is the sum over all predicted tokens by their number in the global batch
(trainer.py). It calls torch.distributed.set_timeout after its first step, which torch 2.13 does not have.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from pprint import pformat
from string import Template
from typing import Any

from analysis.launch.formats import packed_text
from analysis.launch.formats.format import TEMPLATES, checkpoints_name, differences, head, ratio_lines
from analysis.launch.plan.estimate import KEPT
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.plan.launch_study import launch_recipe
from analysis.launch.scripts.torchrun import TORCHRUN, Command
from sweep.study import InputError
from sweep.study.files import disk
from sweep.study.sections.recipe import lr_schedule

NAME = "torchtitan"
TRAINER = "torchtitan 0.3"
MODULE = "almr_launch"
MODULES = ("model", "trainer")  # templates without placeholders, which almr_launch.py imports
LLAMAS = ("llama", "mistral")  # model_type
MASK_BLOCK = 128  # tokens: of the mask of FlexAttention, which context parallelism divides among GPUs


CHECK = f"""\
command -v torchrun > /dev/null ||
    fail "torchrun is not on PATH: pip install torchtitan==0.3.0, or activate its environment"
installed=$(python -c 'from importlib.metadata import version as v; print(v("torchtitan"))' 2> /dev/null) ||
    fail "torchtitan is not installed: pip install torchtitan==0.3.0, or activate its environment"
[[ "$installed" == 0.3.* ]] ||
    fail "torchtitan $installed is installed, this launch is for 0.3: pip install torchtitan==0.3.0"
export ALMR_MODEL="${{ALMR_MODEL:-$model}}" PYTHONPATH="$PWD${{PYTHONPATH:+:$PYTHONPATH}}"
python {MODULE}.py || exit 2"""


def write(plan: LaunchPlan, folder: Path) -> list[str]:
    """Write almr_launch.py and the modules that it imports into the folder; returns warnings."""
    _refuse(plan)
    values = settings(plan)
    literals = {name: pformat(value, width=100, sort_dicts=False) for name, value in values.items()}
    text = Template((TEMPLATES / "torchtitan.txt").read_text(encoding="utf-8")).substitute(literals)
    disk.written(folder / f"{MODULE}.py", head(plan, TRAINER, ratio(plan), NAME) + text)
    for name in MODULES:
        shutil.copyfile(TEMPLATES / f"torchtitan_{name}.txt", folder / f"almr_{name}.py")
    packed_text.write(plan, folder, NAME)
    shutil.copyfile(lr_schedule.__file__, folder / "lr_schedule.py")
    return differences(plan, "torchtitan", used=("tensor", "context"))


def _refuse(plan: LaunchPlan) -> None:
    """Raises InputError for a model that is known not to be a Llama (of others start.sh reads the config.json), and for
    sequences that context parallelism cannot share.
    """
    if plan.target.shape and plan.target.shape.model_type not in LLAMAS:
        raise InputError(
            f"launch.formats: torchtitan's Llama cannot be {plan.launch.model}, of model_type "
            f"{plan.target.shape.model_type}: choose another format"
        )
    context, length = plan.layout(NAME).context, plan.launch.sequence_length
    if context > 1 and length % (context * MASK_BLOCK):
        raise InputError(
            f"launch.context_parallel: {context}: torchtitan shares sequences in blocks of {MASK_BLOCK} tokens, and "
            f"sequence_length {length} is not a multiple of {context * MASK_BLOCK}: lower it, or choose another format"
        )


def settings(plan: LaunchPlan) -> dict[str, Any]:
    """Python values, by name in the template."""
    layout, training = plan.layout(NAME), plan.study.training
    values = {
        "model": plan.launch.model,
        "data": plan.data,
        "seed": plan.seed,
        "lr": plan.lr,
        "betas": (training.optimizer.beta1, training.optimizer.beta2),
        "eps": training.optimizer.epsilon,
        "weight_decay": training.optimizer.weight_decay,
        "max_norm": training.optimizer.max_grad_norm,
        "warmup_steps": plan.schedule.warmup,
        "decay_steps": plan.schedule.decay,
        "min_lr_factor": plan.schedule.min_lr,
        "steps": plan.steps,
        "seq_len": plan.launch.sequence_length,
        "local_batch_size": layout.micro_batch,
        "global_batch_size": plan.launch.batch_sequences,
        "precision": plan.precision,
        "tensor_parallel": layout.tensor,
        "context_parallel": layout.context,
        "checkpointing": layout.checkpointing if plan.launch.gpus_per_node else "none",
        "evaluation_steps": plan.evaluation_steps,
        "checkpoint_steps": plan.checkpoint_steps,
        "kept_checkpoints": max(plan.kept_checkpoints, KEPT),  # it refuses to keep one
        "log_every": training.log_every,
    }
    text = launch_recipe(plan)
    return values | {"checkpoints": checkpoints_name(plan, NAME, [values, text]), "beside": plan.beside}


def ratio(plan: LaunchPlan) -> list[str]:
    return ratio_lines(plan, ", met in the packed blocks: of the first n, round(n x ALMR) are of the language.")


def command(plan: LaunchPlan) -> Command:
    return Command(
        trainer="torchtitan",
        settings=f"{MODULE}.py",
        usage=f"Arguments override {MODULE}.py: start.sh --training.steps 10",
        check=packed_text.check(plan) + CHECK,
        run=TORCHRUN + f'-m torchtitan.train --module {MODULE} --config launch "$@"',
        install="pip install torchtitan==0.3.0 'torch>=2.14.1'",
        prepare=packed_text.script(plan),
        variables={"ALMR_MODEL": plan.launch.model},
    )
