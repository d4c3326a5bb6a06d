"""A trial by a program of the user's: `trainer: command`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from sweep.external.command import answer as answers
from sweep.external.command import request
from sweep.external.command.answer import AnswerError, CommandAnswer
from sweep.external.command.files import CommandFiles
from sweep.external.runs.start import TrainerEnvironment
from sweep.external.runs.trace import LoggedStep, Trace
from sweep.external.trial.flow import of_ours
from sweep.external.trial.job import ExternalTrialError, NodeCommand, SpoiledModelError, TrialJob, TrialNodes
from sweep.study.files.atomic import sha256, write_atomically

WRITE = "sweep.external.command.write"
DIGITS = 8  # of the sha256 of a program's file


@dataclass(frozen=True)
class CommandTrainer:
    """A program, in its environment."""

    command: tuple[str, ...]
    environment: TrainerEnvironment

    def train(self, job: TrialJob, nodes: TrialNodes) -> Trace:
        files = CommandFiles(job.folder)
        given = (job.files.study, job.files.ingredients, files.folder)
        # Also again: resources may be others, and a program may have changed its files.
        nodes.run(of_ours(WRITE, *given, watched=files.folder))
        asked = request.read(files.request)
        self._drop_checkpoints_of_another(files)
        files.renew(self.command, self.environment)
        before = _stamps(asked.model)
        try:
            nodes.run(NodeCommand(files.words, watched=(files.checkpoints,)))
        finally:  # whether it failed or not: the next attempt would take the model as it is then
            _refuse_changed(asked.model, before)
        try:
            found = answers.read(files.answer, asked)
        except AnswerError as error:
            shutil.rmtree(files.checkpoints, ignore_errors=True)
            raise ExternalTrialError(str(error)) from None
        return trace(found, version(found, self.command))

    def _drop_checkpoints_of_another(self, files: CommandFiles) -> None:
        """A program that was edited begins anew: the record names one version."""
        own = ", ".join(_digests(self.command))
        if files.program.is_file() and files.program.read_text(encoding="utf-8") != own:
            shutil.rmtree(files.checkpoints, ignore_errors=True)
        write_atomically(files.program, own)


def _refuse_changed(model: str, before: dict[str, tuple[int, int]]) -> None:
    """Raises SpoiledModelError."""
    if changed := sorted(dict(before.items() - _stamps(model).items())):
        raise SpoiledModelError(
            f"a trial changed {changed[0]} of the model that it was given, {model}, from which the other trials begin "
            f"too: save elsewhere, delete that model, and start a new run"
        )


def _stamps(folder: str) -> dict[str, tuple[int, int]]:
    """Size and time of change of the files of a model."""
    states = ((path.name, path.stat()) for path in Path(folder).iterdir() if path.is_file())
    return {name: (state.st_size, state.st_mtime_ns) for name, state in states}


def trace(found: CommandAnswer, versions: str) -> Trace:
    """What the run logged. Its last step is there without numbers where it was not logged."""
    steps = found.logged
    if found.steps and (not steps or steps[-1].step < found.steps):
        steps = (*steps, LoggedStep(step=found.steps))
    return Trace(
        steps=steps,
        before=found.base_loss,
        after=found.loss,
        tokens=found.tokens,
        model=found.model,
        versions=versions,
        training_seconds=found.training_seconds,
        peak_memory_bytes=found.peak_memory_bytes,
        diverged=found.divergence,
    )


def version(found: CommandAnswer, command: tuple[str, ...]) -> str:
    """Its name and version, as it says, and the sha256 of its own files: a program that is changed is another one."""
    return ", ".join([found.trainer, *_digests(command)])


def _digests(command: tuple[str, ...]) -> list[str]:
    files = [path for word in command if (path := Path(word)).is_absolute() and path.suffix and path.is_file()]
    return [f"{path.name} {sha256(path)[:DIGITS]}" for path in files]
