"""What is known of a study's trainer before it trains: whether it is there, and how its trials differ from our own."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from analysis.launch import bundle
from analysis.launch.plan.schedule import difference
from sweep.external import choose
from sweep.external.runs import one_trial, start
from sweep.external.runs.trainer_run import PreparedFiles
from sweep.external.trial import named
from sweep.external.trial.job import TrialJob
from sweep.study import Ingredients, InputError, Study
from sweep.study.numbers import tokens
from sweep.study.sections.resources import Execution

WHOLE_RUN = "a diverged trial is found at its end"
LACKS = {  # of the record, what these do not tell
    "llamafactory": "memory; training time of a trial that was resumed",
    "axolotl": "memory and training time",
    "torchtitan": "training time of a trial that was resumed",
    "megatron": "on CPUs memory and training time, and training time of a trial that was resumed",
}
SECRET = re.compile(r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|KEY)$", re.IGNORECASE)
CHECKPOINTED = {"checkpoint_minutes"}  # with another trainer checkpoints are by steps


def lines(study: Study) -> list[str]:
    """For `almr plan`; empty for our own trainer."""
    choice = study.trainer
    if not choice.external or study.replay:
        return []
    found = start.of_choice(choice)
    version = start.version(found, choice.name)
    where = f"container {' '.join(choice.container)}" if choice.container else Path(found.python).parent.parent
    command = f" {' '.join(choice.command)}" if choice.command else ""
    lacks = f"; not in its records: {LACKS[choice.name]}" if choice.name in LACKS else ""
    place = "which is not here" if found.why_not else f"environment {where}"
    told = f"trainer: {' '.join(filter(None, (choice.name, version)))}{command}, {place}"
    return [told, f"trainer: {_checkpoints(study)}{WHOLE_RUN}{lacks}", *_horizons(study)]


def _checkpoints(study: Study) -> str:
    if study.trainer.name == "command":
        return ""
    return f"{min(named.CHECKPOINTS, study.training.steps)} checkpoints a trial, of which the newest is kept; "


def _horizons(study: Study) -> Iterator[str]:
    if runs := len(study.training.horizons):
        own = sum(study.training.horizons)
        yield f"trainer: each horizon is a run of its own: {runs} more a trial, {tokens(own)} tokens"


def warnings(study: Study) -> list[str]:
    """Why its trials cannot start, and how they would differ from the study's words; empty for our own trainer."""
    choice = study.trainer
    if not choice.external or study.replay:
        return []
    return [*_missing(study), *_secrets(study), *_differences(study)]


def _secrets(study: Study) -> Iterator[str]:
    for name in filter(SECRET.search, study.trainer.variables):
        yield (
            f"trainer.variables.{name} may be a secret, and the study is kept in the run: set it for almr run itself, "
            f"whose trainer gets it too"
        )


def _missing(study: Study) -> Iterator[str]:
    if lost := start.of_choice(study.trainer).why_not:
        yield f"trainer: {lost}: almr run will refuse to start"


def _differences(study: Study) -> Iterator[str]:
    name, training = study.trainer.name, study.training
    if gap := difference(training.lr_schedule(training.steps), name, name):
        yield gap
    for field, stated in Execution.model_fields.items():
        if field not in CHECKPOINTED and getattr(study.execution, field) != stated.default:
            yield f"execution.{field} is of our own trainer: {name} does not use it"
    if study.resources.processes > 1:
        yield f"resources.processes is of our own trainer: {name} has one process on a node without GPUs"


def refuse_missing(study: Study) -> None:
    """Raises InputError where the study's trainer is not there, or cannot train its trials on their hardware."""
    choice = study.trainer
    if not choice.external or study.replay:
        return
    choose.trainer(study)
    found = start.of_choice(choice)
    if choice.name in start.PACKAGES and not start.version(found, choice.name):
        raise InputError(
            f"trainer: {found.python} has no {start.PACKAGES[choice.name]}: install it there, or write another "
            f"trainer.environment"
        )
    if choice.name in start.NEEDS_GPU and not study.resources.gpus and "PYTHONPATH" not in choice.variables:
        raise InputError(
            f"trainer: {choice.name} needs a GPU: write resources.gpus_per_node, or give it what it lacks on a CPU "
            f"with trainer.variables.PYTHONPATH"
        )


def refuse_unwritable(study: Study, ingredients: Ingredients) -> None:
    """Raises InputError where the trainer's format cannot express the study's trials: the first is written to see."""
    choice = study.trainer
    if not choice.external or study.replay or choice.name == "command":
        return
    trial = study.grid_trials[0]
    with tempfile.TemporaryDirectory() as folder:
        files = PreparedFiles(Path(folder) / "study.yaml", Path(folder) / "ingredients.json")
        one = one_trial.of_study(study, trial, ingredients)
        made = named.launch_plan(TrialJob(one, trial, ingredients, files, Path(folder)), choice.name)
        try:
            bundle.write(made, choice.name, Path(folder) / "launch")
        except InputError as error:
            raise InputError(f"trainer: {choice.name} cannot train these trials: {error}") from None
