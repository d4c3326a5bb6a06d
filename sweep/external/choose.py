"""The trainer that a study names, other than ours."""

from __future__ import annotations

from sweep.external.command.trainer import CommandTrainer
from sweep.external.runs import start
from sweep.external.trial.job import ExternalTrainer
from sweep.external.trial.named import NamedTrainer
from sweep.study import InputError, Study


def trainer(study: Study) -> ExternalTrainer:
    """Raises InputError where its environment is not there."""
    environment = start.of_choice(study.trainer)
    if environment.why_not:
        raise InputError(f"trainer: {environment.why_not}")
    if study.trainer.name == "command":
        return CommandTrainer(study.trainer.command, environment)
    return NamedTrainer(study.trainer.name, environment)
