"""The text of a launch in a format's folder: study.yaml, from which prepare.sh packs what the trainer reads."""

from __future__ import annotations

from pathlib import Path

from analysis.launch.plan.launch_plan import DATA, MODEL, LaunchPlan
from analysis.launch.plan.launch_study import launch_study
from analysis.launch.scripts import origin, prepare
from sweep.study import study_file
from sweep.study.files import disk

STUDY = "# The launch as a study of one trial: prepare.sh packs its text.\n"
RATIO = ", met exactly: of the first n sequences, round(n x ALMR). prepare.sh packs them in their order."


def write(plan: LaunchPlan, folder: Path, name: str) -> None:
    """Write study.yaml, the held-out text that it excludes, and prepare.sh. Nothing where another run has the text."""
    if plan.data != DATA:
        return
    disk.written(folder / "study.yaml", STUDY + study_file.dump(launch_study(plan)))
    plan.held_out.copy(folder)
    prepare.write(folder, prepare.pack_script(name, DATA, plan.stated_evaluation, origin.linked(plan.origin)))


def check(plan: LaunchPlan) -> str:
    """Bash for start.sh: refuses to start before the text of this study is packed."""
    beside, data = plan.data.removesuffix(DATA), plan.data
    return f"""[[ -f {data}/blocks.json ]] ||
    fail "{data} has no packed text: run {beside}{prepare.NAME} once"
[[ "$(< {data}/blocks.json)" == *"$(sha256sum < {beside}study.yaml | cut -c -64)"* ]] ||
    fail "{data} was packed before {beside}study.yaml was changed: run {beside}{prepare.NAME} again"
"""


def check_model(plan: LaunchPlan) -> str:
    """Bash for start.sh: as `check`, and refuses where the base model is not here, whose files the data link to."""
    config = f"{plan.data}/{MODEL}/config.json"
    return f"""{check(plan)}[[ ! -L {config} || -f {config} ]] ||
    fail "{config} leads to $(readlink {config}), which is not here: copy the model there"
"""


def script(plan: LaunchPlan) -> str:
    """The prepare.sh that packs the text, relative to the folder of the run."""
    return f"{plan.data.removesuffix(DATA)}{prepare.NAME}"
