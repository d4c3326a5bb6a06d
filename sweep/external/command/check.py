"""`almr trainer check`: runs a program for a few steps, and says for each point of the contract whether it holds."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sweep.external.command import answer as answers
from sweep.external.command import points
from sweep.external.command.answer import AnswerError
from sweep.external.command.files import CommandFiles
from sweep.external.command.points import Point, Tried
from sweep.external.command.request import CommandRequest
from sweep.external.command.start import run_here
from sweep.external.command.write import write
from sweep.external.runs import start
from sweep.external.runs.reference import evaluate
from sweep.external.runs.trace import Losses
from sweep.study import Ingredients, Study, Trial
from sweep.study.errors import one_line
from sweep.study.sections.recipe.trainer import TrainerChoice
from trainers.loop import held_out

STEPS = (10, 20, 50, 100)  # the first number that the study's LR schedule can be had in
ALMRS = (0.25, 0.75)
LOWER = 4.0  # the other LR is so many times lower
HALF = 0.5  # of the first run's time: when a program that leaves no checkpoints is killed
Show = Callable[[str], None]


@dataclass(frozen=True)
class Checked:
    """The points of the contract. `folder`: where the files of the runs are kept; None where all hold."""

    points: tuple[Point, ...]
    folder: Path | None = None

    @property
    def holds(self) -> bool:
        return all(point.holds is not False for point in self.points)

    @property
    def text(self) -> str:
        broken = sum(point.holds is False for point in self.points)
        verdict = f"{broken} of {len(self.points)} points fail" if broken else "the contract holds"
        where = [f"files of the runs: {self.folder}"] if self.folder else []
        return "\n".join([verdict, *(point.text for point in self.points), *where])

    def as_json(self) -> dict[str, Any]:
        folder = str(self.folder) if self.folder else None
        return {"holds": self.holds, "points": [point._asdict() for point in self.points], "folder": folder}


def short_study(study: Study) -> Study:
    """A study of a few steps with the model, text and recipe of this one, on this machine alone."""
    training, lrs = study.training, sorted({lr for _, lr, _ in study.grid.points})
    content = study.model_dump(mode="json", by_alias=True)
    content["training"] |= {
        "tokens": training.fewest_steps(STEPS) * training.global_batch_tokens,
        "horizons": [],
        "simulate_epochs": False,
    }
    content["grid"] = {"almr": [ALMRS[0]], "lr": [lrs[len(lrs) // 2]], "seeds": [study.grid.seeds[0]]}
    content["resources"] |= {"nodes": 1}
    unused: dict[str, Any] = {
        "trainer": {},
        "search": {},
        "launch": None,
        "post_training": None,
        "benchmarks": None,
        "replay": None,
        "objective": {},
    }
    return Study.model_validate(content | unused | {"name": f"{study.name[:80]}-check"})


def check(study: Study, command: TrainerChoice, made: Ingredients, show: Show) -> Checked:
    """Run the program on a study of `short_study` that is prepared. The files of the runs stay where a point fails."""
    folder = Path(tempfile.mkdtemp(prefix="almr-trainer-check-"))
    try:
        done = Checked(tuple(_CheckRuns(study, command, made, folder, show).points()), folder)
    except BaseException:  # Ctrl-C too
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if not done.holds:
        return done
    shutil.rmtree(folder)
    return Checked(done.points)


@dataclass(frozen=True)
class _CheckRuns:
    """The runs of one check, each in a folder of its own in `folder`."""

    study: Study
    command: TrainerChoice
    made: Ingredients
    folder: Path
    show: Show

    def points(self) -> Iterator[Point]:
        [trial] = self.study.grid_trials
        alone = self._run("first", trial)
        yield from points.of_first(alone)
        if alone.answer is None:
            return
        other = self._run("another-almr", trial.model_copy(update={"almr": ALMRS[1]}))
        lower = self._run("lower-lr", trial.model_copy(update={"lr": trial.lr / LOWER}))
        yield from points.of_all(alone, other, lower, self._run("killed", trial, stop=HALF * alone.seconds))

    def _run(self, name: str, trial: Trial, stop: float | None = None) -> Tried:
        """Run the program to its end. With `stop` it is killed before, at its first checkpoint or after so many
        seconds, and started again.
        """

        def show(seconds: float) -> None:
            self.show(f"run {name}: {seconds:,.0f} s")

        files, resources = CommandFiles(self.folder / name), self.study.resources
        asked = write(self.study, trial, self.made, files)
        files.renew(self.command.command, start.of_choice(self.command))
        killed = stop is not None and run_here(files, resources, show, stop).stopped
        files.renew(self.command.command, start.of_choice(self.command))  # as a trial does before each attempt
        ended = run_here(files, resources, show)
        tried = Tried(asked, ended.seconds, fault=ended.fault, killed=killed)
        try:
            return tried if ended.fault else self._measured(tried._replace(answer=answers.load(files.answer)))
        except AnswerError as error:
            return tried._replace(fault=f"{error} (log: {files.log})")

    def _measured(self, tried: Tried) -> Tried:
        """With what we measure of its model and of its first batch."""
        assert tried.answer
        self.show("measuring its model")
        model = None if answers.FAULTS["losses"](tried.answer, tried.asked) else tried.answer.model
        losses = self._losses(model) if model else None
        return tried._replace(measured=losses, first_batch=self._first_batch(tried.asked))

    def _losses(self, model: str) -> Losses:
        """Raises AnswerError for what is no model: its files are the program's."""
        try:
            return evaluate.losses(self.study, self.made, model)
        except Exception as error:
            raise AnswerError(f"model: {model} cannot be measured: {one_line(error)}") from None

    def _first_batch(self, asked: CommandRequest) -> float:
        """The base model's loss on the first batch of a run."""
        workers = evaluate.one_worker(self.study)
        loss = evaluate.model_loss(self.study, self.made, self.made.base_model, workers)
        count = asked.step_tokens
        rows = np.fromfile(asked.rows, "<u4", count).reshape(-1, asked.sequence_length).astype(np.int64)
        batch = torch.from_numpy(rows).to(workers.device)
        return held_out.evaluate(loss, batch, asked.micro_batch_sequences, workers)
