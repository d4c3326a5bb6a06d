"""torchtitan 0.3: almr_launch.py, since its configuration is a Python module, and lr_schedule.py, a copy of ours.

Facts of torchtitan 0.3.0 behind this: it reads no TOML (0.2 did, but mixed nothing); a source's `weight` is a share of
packed sequences, so of tokens; every rank draws with the same seed; attention never crosses documents; validation has
one loss; its own schedule stays at the peak for a step after the warm-up, so that a cosine would be late.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from pprint import pformat
from string import Template
from typing import Any

from analysis.launch.formats import documents, packed_text
from analysis.launch.formats.format import TEMPLATES, checkpoints_name, differences, head, ratio_lines
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.plan.ratio import NOTABLE_SD, almr_sd
from analysis.launch.scripts.torchrun import BESIDE, TORCHRUN, Command
from sweep.study.sections import lr_schedule

NAME = "torchtitan"
TRAINER = "torchtitan 0.3"
MODULE = "almr_launch"
# Names of the models in torchtitan.models.llama3, by (hidden size, layers).
FLAVORS = {(2048, 16): "1B", (3072, 28): "3B", (4096, 32): "8B", (8192, 80): "70B", (16384, 126): "405B"}


def write(plan: LaunchPlan, folder: Path) -> list[str]:
    """Write almr_launch.py, lr_schedule.py and launch_text.py into the folder; returns warnings."""
    values = settings(plan, folder)
    literals = {name: pformat(value, width=100, sort_dicts=False) for name, value in values.items()}
    text = Template((TEMPLATES / "torchtitan.txt").read_text(encoding="utf-8")).substitute(literals)
    (folder / f"{MODULE}.py").write_text(head(plan, TRAINER, ratio(plan), NAME) + text, encoding="utf-8")
    documents.write_scripts(plan, folder)
    packed_text.write(plan, folder, NAME)
    shutil.copyfile(lr_schedule.__file__, folder / "lr_schedule.py")
    return warnings(plan)


def settings(plan: LaunchPlan, folder: Path) -> dict[str, Any]:
    """Python values, by name in the template."""
    layout, training = plan.layout(NAME), plan.study.training
    values = {
        "flavor": flavor(plan),
        "model": plan.launch.model,
        "sources": documents.sources(plan, folder),
        "weights": plan.shares,
        "held_out": documents.held_out(plan),
        "bos": plan.bos,
        "eos": plan.eos,
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
        "tensor_parallel": layout.tensor,
        "context_parallel": layout.context,
        "full_checkpointing": layout.checkpointing == "full",
        "evaluation_steps": plan.evaluation_steps,
        "checkpoint_steps": plan.checkpoint_steps,
        "log_every": training.log_every,
    }
    return values | {"checkpoints": checkpoints_name(plan, NAME, values), "beside": BESIDE}


def flavor(plan: LaunchPlan) -> str | None:
    """None where torchtitan has no Llama of this shape: the module then reads ALMR_FLAVOR."""
    shape = plan.target.shape
    return FLAVORS.get((shape.hidden_size, shape.num_hidden_layers)) if shape else None


def warnings(plan: LaunchPlan) -> list[str]:
    found = differences(plan, "torchtitan", used=("tensor", "context"))
    if flavor(plan) is None:
        found.append("torchtitan: the launch's model is none of its own by shape: set ALMR_FLAVOR (8B, 70B, ...)")
    if not plan.study.training.document_masking:
        found.append("torchtitan 0.3 never attends across documents, the trials did (training.document_masking: false)")
    if plan.evaluation_files:
        found.append("torchtitan 0.3 has one validation loss, over all held-out texts in equal parts")
    if (sd := ratio_sd(plan)) > NOTABLE_SD:
        found.append(f"torchtitan draws sequences at random: the achieved ALMR differs by about {sd:.2g}")
    return found


def ratio_sd(plan: LaunchPlan) -> float:
    """Standard deviation of the achieved ALMR. All ranks draw the same, so the draws of one rank count."""
    draws = plan.tokens / plan.launch.sequence_length / plan.layout(NAME).data
    return almr_sd(plan.shares, plan.shares, plan.additional, draws)


def ratio(plan: LaunchPlan) -> list[str]:
    return ratio_lines(
        plan,
        ", and so is a source's weight: sequences are packed first.",
        f"Drawn at random: the achieved ALMR differs by about {ratio_sd(plan):.2g} (one standard deviation).",
    )


def command(plan: LaunchPlan) -> Command:
    return Command(
        trainer="torchtitan",
        settings=f"{MODULE}.py",
        usage=f"Arguments override {MODULE}.py: start.sh --training.steps 10",
        check="command -v torchrun > /dev/null ||\n"
        '    fail "torchrun is not on PATH: pip install torchtitan==0.3.0, or activate its environment"\n'
        'export ALMR_MODEL="${ALMR_MODEL:-$model}"\n'
        '[[ -f "$ALMR_MODEL/config.json" ]] ||\n'
        '    fail "$ALMR_MODEL has no config.json: download the model and set ALMR_MODEL to its folder"',
        run='export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"\n'
        + TORCHRUN
        + f'-m torchtitan.train --module {MODULE} --config launch "$@"',
        install="pip install torchtitan==0.3.0",
        variables={"ALMR_MODEL": plan.launch.model},
    )
