"""README.md of the bundle: what was chosen, in which folder for which trainer, and the arithmetic behind each."""

from __future__ import annotations

from analysis.launch.formats.format import Format, risk_lines, visible
from analysis.launch.plan.launch_plan import ASSUMPTIONS, LaunchPlan

FILES = """In each folder: `start.sh` (run it on every node, with NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT set),
`slurm.sbatch`, `rayjob.yaml` (KubeRay, with `ray_start.py`), `sky.yaml` (SkyPilot). Checkpoints go below
ALMR_CHECKPOINTS, a folder that all nodes share, by default beside this one. `evidence.json` says which trials support
the numbers, and has the sha256 of every file.
"""


def page(plan: LaunchPlan, formats: dict[str, Format], warnings: list[str]) -> str:
    parts = [
        f"# The launch of {visible(plan.launch.model)}\n",
        *(f"**{visible(line)}**\n" for line in risk_lines(plan)),
        _numbers(plan),
        FILES,
        _listed("## Before you start", [*plan.fit_warnings, *plan.warnings, *warnings, *ASSUMPTIONS]),
        *(_section(plan, name, of) for name, of in formats.items()),
    ]
    return "\n".join(parts)


def _numbers(plan: LaunchPlan) -> str:
    schedule, stated = plan.study.training.schedule, plan.evaluation_files
    decay = f", the last {plan.decay_steps:,} decay" if schedule.name == "wsd" else ""
    rows = {
        "ALMR": f"{plan.almr:.6g} (share of tokens)",
        "peak LR": f"{plan.lr:.6g}",
        "last LR": f"{plan.min_lr:.6g} ({schedule.min_lr:g} of the peak)",
        "schedule": f"{schedule.name}: {plan.warmup_steps:,} steps of warm-up{decay}",
        "steps": f"{plan.steps:,} x {plan.launch.global_batch_tokens:,} tokens = {plan.tokens:,} ({plan.difference})",
        "sequence length": f"{plan.launch.sequence_length:,}",
        "seed": str(plan.seed),
        "checkpoints": f"every {plan.checkpoint_steps:,} steps",
        "held-out losses": f"every {plan.evaluation_steps:,} steps"
        if stated
        else "of no text: launch.evaluation is not stated",
    }
    return "\n".join(["| what | value |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows.items()), ""])


def _section(plan: LaunchPlan, name: str, of: Format) -> str:
    return _listed(f"## {name}/: {of.trainer}", [*of.ratio(plan), *plan.layout(name).lines(plan.launch)])


def _listed(heading: str, lines: list[str]) -> str:
    return "\n".join([heading, *(f"- {visible(line)}" for line in lines), ""])
