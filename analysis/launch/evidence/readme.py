"""README.md of the bundle: the launch's numbers, the warnings, and a section for each trainer's folder."""

from __future__ import annotations

from collections.abc import Collection

from analysis.launch.formats.format import Format, cell, inert, visible
from analysis.launch.plan.launch_plan import NOT_TRIED, LaunchPlan
from analysis.launch.plan.launch_study import NATIVE
from sweep.study import numbers

FILES = """## In this order
{steps}

Each folder has four ways to start: `start.sh` (run it on every node, with NNODES, NODE_RANK, MASTER_ADDR and
MASTER_PORT set), `slurm.sbatch`, `rayjob.yaml` (KubeRay, with `ray_start.py`) and `sky.yaml` (SkyPilot). Checkpoints go
below ALMR_CHECKPOINTS, a folder that all nodes share, by default the folder that holds the folder of this bundle.
`evidence.json` names the trials behind the numbers, with the sha256 of every file. The head of a folder's settings says
how it writes the ratio.
"""


NAME = "README.md"


def text(
    plan: LaunchPlan, formats: dict[str, Format], warnings: list[str], headline: str, after: Collection[str] = ()
) -> str:
    """`headline` is that of GO.md; `after`: what is said of the stages after the launch."""
    found = dict.fromkeys([*plan.fit_warnings, *plan.warnings, *warnings, *plan.assumptions])
    checked = {*plan.checked, *(line for name in formats for line in plan.layout(name).warnings(name))}
    told = [line for line in found if line not in checked]
    parts = [
        f"# Launch of {visible(plan.launch.model)}\n",
        f"**{headline.partition(':')[0].partition(' (')[0]}.** `GO.md` says why.\n",
        _numbers(plan, formats),
        *([_listed("## Text, before the start", plan.text_lines(formats))] if plan.launch.gpus_per_node else []),
        FILES.format(steps="\n".join(f"{i}. {step}" for i, step in enumerate(_steps(plan, formats), 1))),
        _listed("## Warnings beside those of GO.md", told),
        *(_section(plan, name, of) for name, of in formats.items()),
        *([_listed("## After the launch", list(after))] if after else []),
    ]
    return inert("\n".join(parts))


def _numbers(plan: LaunchPlan, formats: Collection[str]) -> str:
    schedule, measured = plan.study.training.schedule, ", ".join(map(plan.study.language_name, plan.held_out_sets))
    first = numbers.lr(plan.schedule.share(0) * plan.lr)
    rows = {
        "ALMR": f"{numbers.almr(plan.almr)} (share of tokens)",
        "peak LR": numbers.lr(plan.lr),
        "LR of the last step": f"{numbers.lr(plan.min_lr)} ({schedule.min_lr:g} x the peak)",
        "schedule": f"{schedule.name}: {plan.schedule.warmup:,} steps of warm-up, the first at {first}; "
        f"{len(plan.schedule.peak):,} at the peak; the last {plan.schedule.decay:,} decay",
        "steps": f"{plan.steps:,} x {plan.launch.global_batch_tokens:,} tokens = {plan.tokens:,} ({plan.difference})",
        "sequence length": f"{plan.launch.sequence_length:,}",
        "seed": str(plan.seed),
        "checkpoints": _checkpoints(plan, formats),
        "held-out losses": f"of {measured}, every {plan.evaluation_steps:,} steps",
        **({"trials trained by": plan.trained_by} if plan.trained_by else {}),
    }
    exact = "The configuration files hold the exact values.\n"
    table = [f"| {name} | {cell(value)} |" for name, value in rows.items()]
    return "\n".join(["| setting | value |", "|---|---|", *table, "", exact])


def _checkpoints(plan: LaunchPlan, formats: Collection[str]) -> str:
    """Our own trainer saves by the clock, the others by steps."""
    minutes = plan.estimate(NATIVE).checkpoint_minutes
    found = [f"every {plan.checkpoint_steps:,} steps"] if {*formats} - {NATIVE} else []
    return "; ".join([*found, *([f"{NATIVE}: every {minutes:g} minutes"] if NATIVE in formats else [])])


def _steps(plan: LaunchPlan, formats: Collection[str]) -> list[str]:
    """What a person does with the bundle, in order."""
    where = "on a machine that sees this bundle, the corpora and the model, with almr-sweep installed; it needs no GPU"
    prepared = f"`bash FORMAT/prepare.sh`, once for a format, {where}. It makes the text ready"
    if NATIVE in formats:
        prepared += f"; for {NATIVE} in ALMR_CACHE, a folder that the nodes see too"
        prepared += "" if plan.launch.gpus_per_node else ". On CPUs its start.sh does so by itself"
    model = " Set ALMR_MODEL to a folder with the model for torchtitan." if "torchtitan" in formats else ""
    return [
        prepared + ".",
        "`almr export RUN --parity`: each installed trainer trains the small model as a trial was trained.",
        "`almr confirm RUN`: the confirmation runs, `confirm-1-FORMAT/start.sh` and so on, test the transfer.",
        "`FORMAT/start.sh`: the launch, with the trainer installed on every node." + model,
    ]


def _section(plan: LaunchPlan, name: str, of: Format) -> str:
    layout, takes = plan.layout(name), plan.takes(name) if plan.launch.gpus_per_node else []
    table = ["The fastest of the layouts:", "", *layout.table(), ""] if layout.table() else []
    lines = [plan.parity.get(name, NOT_TRIED), *layout.lines(plan.launch), *takes]
    return "\n".join([_listed(f"## {name}/: {of.TRAINER}", lines), *table])


def _listed(heading: str, lines: list[str]) -> str:
    return "\n".join([heading, *(f"- {visible(line)}" for line in lines), ""])
