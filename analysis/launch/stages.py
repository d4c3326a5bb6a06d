"""The stages after a launch in its bundle: a folder for each, with the formats that train it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.launch.formats.format import checkpoints_name, comment
from analysis.launch.plan import make_plan
from analysis.launch.plan.launch_plan import MODEL, LaunchPlan, StageOrigin
from analysis.launch.plan.launch_study import NATIVE, launch_recipe, launch_study
from analysis.launch.plan.layout import LaunchHardware, plain
from sweep.study import InputError, Study, numbers, study_file
from sweep.study.files import disk
from sweep.study.sections.launch import Format
from sweep.study.sections.post_training import stage_launch
from sweep.study.sections.text.corpora import BaseModelSource

TRAINED: dict[str, tuple[Format, ...]] = {
    "sft": ("native", "trl", "llamafactory"),
    "dpo": ("native", "trl", "llamafactory"),
}
NOT_TRIED = "NOT TRIED: no parity run compares this trainer with almr's own on this stage"
ONE_PROCESS = "native takes pairs in one process alone, so it is not written"


@dataclass(frozen=True)
class WrittenStage:
    """A stage in the bundle: `plans` by format, empty for a sweep. `lines` say in words what it is."""

    stage: str
    plans: dict[str, LaunchPlan]
    lines: tuple[str, ...]


def write(
    folder: Path,
    launch: LaunchPlan,
    formats: tuple[str, ...],
    write_format: Callable[[LaunchPlan, str, Path], list[str]],
) -> list[WrittenStage]:
    """Write the folder of each stage of the study into that of the bundle. `formats`: of the launch.

    Raises InputError, naming the stage, where a format cannot train it.
    """
    origin, found = _launched(launch, formats), []
    for stage, study in study_file.stages_of(launch.study).items():
        origin = replace(origin, stage=stage)
        (folder / stage).mkdir()
        if len(study.grid_trials) > 1:
            found.append(_sweep(folder / stage, study, origin))
            origin = StageOrigin("", f"the model that stage {stage} left", None, origin.before)
            continue
        plans = _plans(study, launch, origin)
        try:
            told = {name: write_format(plan, name, folder / stage / name) for name, plan in plans.items()}
        except InputError as error:
            raise InputError(f"post_training.{stage}: {error}") from None
        found.append(WrittenStage(stage, plans, tuple(_lines(plans, told))))
        origin = _left(next(iter(plans.values())), NATIVE in plans, f"the model that stage {stage} left")
    return found


def _launched(launch: LaunchPlan, formats: tuple[str, ...]) -> StageOrigin:
    return _left(launch, NATIVE in formats, "the model that the launch left")


def _left(plan: LaunchPlan, native: bool, words: str) -> StageOrigin:
    """What a run leaves: with our own trainer in a known folder."""
    [trial] = launch_study(plan).grid_trials
    name = checkpoints_name(plan, NATIVE, launch_recipe(plan))
    return StageOrigin("", words, f"{name}/trials/{trial.id}/model" if native else None, name)


def _plans(study: Study, launch: LaunchPlan, origin: StageOrigin) -> dict[str, LaunchPlan]:
    """The plan of a stage of one trial, for each format that trains it on its machines."""
    [trial] = study.grid_trials
    machines = stage_launch(MODEL, study.training, study.resources, launch.launch, TRAINED[origin.stage])
    several = origin.stage == "dpo" and machines.processes > 1
    names: list[str] = [name for name in machines.formats if not (several and name == NATIVE)]
    base = BaseModelSource(pretrained=MODEL, trust_remote_code=launch.study.base_model.trust_remote_code)
    staged = study.model_copy(update={"launch": machines, "base_model": base})
    counted = {} if machines.gpus_per_node else dict.fromkeys(names, plain(machines))  # memory of GPUs is not counted
    plan = replace(
        make_plan.of_trial(staged, machines, trial, {}, LaunchHardware(layouts=counted)),
        precision="bfloat16" if machines.gpus_per_node else "float32",
        parity=dict.fromkeys(names, NOT_TRIED),
        origin=origin,
        text=study.corpora,
    )
    return dict.fromkeys(names, plan)


def _sweep(folder: Path, study: Study, origin: StageOrigin) -> WrittenStage:
    """A stage of several trials is a study to run, as its settings are not known yet."""
    model = f"../../{origin.left}" if origin.left else MODEL
    head = [
        f"A sweep of stage {origin.stage} with {len(study.grid_trials)} trials: almr run study.yaml, in this folder.",
        f"base_model has to be the folder of {origin.words}.",
    ]
    based = study.model_copy(update={"base_model": BaseModelSource(pretrained=model)})
    disk.written(folder / "study.yaml", comment(head) + study_file.dump(based))
    line = (
        f"{origin.stage}/: a sweep of {len(study.grid_trials)} trials, so it has no trainer's configuration: "
        f"almr run {origin.stage}/study.yaml, from {origin.words} ({model}, from there)"
    )
    return WrittenStage(origin.stage, {}, (line,))


def _lines(plans: dict[str, LaunchPlan], told: dict[str, list[str]]) -> list[str]:
    plan = next(iter(plans.values()))
    assert plan.origin
    stage, known = plan.origin.stage, f"{plan.origin.variable} names its folder"
    known += f", by default {plan.origin.left} below ALMR_CHECKPOINTS" if plan.origin.left else ""
    first = (
        f"{stage}/: ALMR {numbers.almr(plan.almr)}, peak LR {numbers.lr(plan.lr)}, {plan.steps:,} steps, with "
        f"{', '.join(plans)}, from {plan.origin.words}: {known}. {stage}/FORMAT/prepare.sh, then start.sh"
    )
    alone = [f"{stage}/: {ONE_PROCESS}"] if NATIVE not in plans else []
    return [first, *alone, *(f"{stage}/{name}: {line}" for name, lines in told.items() for line in lines)]
