"""A study of one trial is a run of its own: it is trained and its losses are told. Nothing can be fitted to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console

from sweep.store.run import Run
from sweep.study import LANGUAGES, InputError, Record, Status, Study, Trial
from sweep.study.numbers import clock, number
from sweep.verbs.running import run as sweep_run


@dataclass(frozen=True)
class SingleRun:
    """The only trial of a study, with the folder of the model that it left; None where the study saves none."""

    run: Run
    study: Study
    record: Record

    @property
    def model(self) -> str | None:
        folder = self.run.files.trial(self.record.trial_id).model
        return str(folder) if folder.is_dir() else None

    @property
    def status(self) -> int:
        """The exit status: 0 where the trial is complete, else 1."""
        return 0 if self.record.status is Status.COMPLETE else 1

    def text(self) -> str:
        record, reason = self.record, f": {self.record.reason}" if self.record.reason else ""
        lines = ["", f"one trial, {record.status.value}{reason}: nothing to fit, so no winner and no launch"]
        if record.loss and record.base_loss:
            before, after = record.base_loss.model_dump(), record.loss.model_dump()
            names = {language: self.study.language_name(language) for language in LANGUAGES}
            told = (f"{names[one]} {number(before[one])} -> {number(after[one])}" for one in LANGUAGES)
            lines.append(f"held-out loss, base -> trained: {', '.join(told)}")
        lines.append(f"time: {clock(record.seconds or 0)} of training; record: {self.run.trial_folder(record.trial)}")
        return "\n".join([*lines, *([f"model: {self.model}"] if self.model else [])])

    def as_json(self) -> dict[str, Any]:
        record = self.record.model_dump(mode="json", include={"trial_id", "status", "reason", "loss", "base_loss"})
        return {"run": self.run.address, "seconds": self.record.seconds, "model": self.model} | record


def only_trial(study: Study) -> Trial | None:
    """The trial of a study that has one, and no search that may add others; else None."""
    return None if study.search.proposes or len(study.grid_trials) != 1 else study.grid_trials[0]


def train(study: Study, run: Run, console: Console, address: str | None = None) -> SingleRun:
    """Train the only trial of a study, where it has no record. Raises InputError as `almr run`."""
    [trial] = study.grid_trials
    sweep_run.grid(study, run, console, address, follow=True)
    record = run.record(trial)
    if record is None:
        raise InputError(f"{run.address}: its trial has no record: run the same command again")
    return SingleRun(run, study, record)
