"""The product's own trainer: study.yaml, a study whose only trial is the launch."""

from __future__ import annotations

from pathlib import Path

from analysis.launch.formats.format import checkpoints_name, head, ratio_lines, unused
from analysis.launch.plan import predicted_losses
from analysis.launch.plan.launch_plan import DATA, LaunchPlan
from analysis.launch.plan.launch_study import NATIVE, launch_recipe, launch_study
from analysis.launch.scripts import origin, prepare
from analysis.launch.scripts.torchrun import TORCHRUN, Command
from sweep.study import study_file
from sweep.study.files import disk

NAME = NATIVE
TRAINER = "almr's own trainer"
CHECKOUT = '"${ALMR_CHECKOUT:?is not set: name the folder of a checkout of almr-sweep on every node}"'  # on no index


def write(plan: LaunchPlan, folder: Path) -> list[str]:
    """Write study.yaml and prepare.sh into the folder; returns warnings. A confirmation run has no prepare.sh: the
    launch's prepares its text too.
    """
    text = head(plan, TRAINER, ratio(plan), NAME) + study_file.dump(launch_study(plan))
    disk.written(folder / "study.yaml", text)
    if plan.predicted and plan.predicted.is_for(plan.almr, plan.lr, plan.tokens):
        predicted = plan.predicted.model_dump_json(indent=2)
        disk.written(folder / predicted_losses.NAME, f"{predicted}\n")
    plan.held_out.copy(folder)
    if plan.data == DATA:
        prepare.write(folder, prepare.native_script(origin.linked(plan.origin)))
    return warnings(plan)


def warnings(plan: LaunchPlan) -> list[str]:
    found = unused(plan, NAME)
    if plan.stated_evaluation:
        other = "launch.evaluation" if plan.launch.evaluation else "that of the trials"
        found.append(f"native measures the loss on the held-out part of each corpus, not on {other}")
    return found


def ratio(plan: LaunchPlan) -> list[str]:
    return ratio_lines(plan, ", met exactly: of the first n sequences, round(n x ALMR).")


def command(plan: LaunchPlan) -> Command:
    return Command(
        trainer="almr's own trainer",
        settings="study.yaml",
        usage="Its record and log are written beside the checkpoints. It takes no arguments.",
        check='python -c "import sweep, torch" 2> /dev/null ||\n'
        '    fail "almr is not installed here: pip install -e CHECKOUT, or activate its environment"\n'
        + origin.linked(plan.origin)
        + _check(plan),
        run=TORCHRUN + '-m sweep.worker.launch_run study.yaml "$checkpoints"',
        install=f"pip install {CHECKOUT}",
        variables={"ALMR_CHECKOUT": ""} | ({plan.origin.variable: ""} if plan.origin else {}),
        prepare=f"{plan.data.removesuffix(DATA)}{prepare.NAME}",
        packed="ALMR_CACHE, which has to be a folder that\n# every node mounts under the same path",
        checkpoints=checkpoints_name(plan, NAME, launch_recipe(plan)),
    )


def _check(plan: LaunchPlan) -> str:
    """Bash for start.sh: GPUs do not wait for a tokeniser. On CPUs the first start prepares."""
    if not plan.launch.gpus_per_node:
        return ""
    beside = plan.data.removesuffix(DATA)
    return (
        f'[[ -f {beside}{prepare.PREPARED} ]] ||\n    fail "the text is not prepared, and no GPU should wait for it: '
        f'run {beside}{prepare.NAME} once"'
    )
