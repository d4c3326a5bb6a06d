"""The layout of a run directory: the path of each of its files. No other module knows them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

TRIALS, RECORD, LOCK, PARITY, TRACKING = "trials", "record.json", "lock.json", "parity", "tracking.json"
CONFIRMATION_RESULT, CONFIRMATION_RUNS, PREVIOUS_EVIDENCE = "judgement.json", "results.csv", "previous-evidence.json"
SAVED_MODELS_LOCK = ".kept.lock"
READ_BY_DRIVERS = ("trial.json", RECORD, "questions.json")  # the files of a trial that are fitted and reported


@dataclass(frozen=True)
class Entry:
    """A file or folder in the `folder` of the object that it is an attribute of."""

    name: str

    def __get__(self, owner: ScoreFiles | RunFiles, kind: type) -> Path:
        return owner.folder / self.name


@dataclass(frozen=True)
class ScoreFiles:
    """The files of one model's benchmark scores. A trial has only `questions`: its scores are in its record."""

    folder: Path
    scores = Entry("scores.json")
    failures = Entry("failures.json")
    questions = Entry("questions.json")  # the score of each question, by task


@dataclass(frozen=True)
class TrialFiles(ScoreFiles):
    """The files of one trial, in `trials/<trial id>/`."""

    request = Entry("trial.json")
    record = Entry(RECORD)
    metrics = Entry("metrics.jsonl")  # loss, LR and speed by step
    heartbeat = Entry("heartbeat")
    checkpoint = Entry("checkpoint")
    tensorboard = Entry("tensorboard")
    tracking = Entry(TRACKING)  # the ids of its sessions in W&B and MLflow
    model = Entry("model")  # the trained model, a Hugging Face directory, where the study saves it
    saved_model_note = Entry("kept.json")  # the objective of the trained model beside it

    def log(self, rank: int = 0) -> Path:
        """The output of a rank of the trial."""
        return self.folder / (f"train.rank{rank}.log" if rank else "train.log")

    def torchrun_log(self, node: int) -> Path:
        return self.folder / f"torchrun.node{node}.log"

    @property
    def again(self) -> Path:
        """A folder beside that of the trial, in which it is trained again for its scores."""
        return self.folder.with_name(f".again-{self.folder.name}")


@dataclass(frozen=True)
class RunFiles:
    """The files of one run, `runs/<study name>/`."""

    folder: Path
    study = Entry("study.yaml")
    ingredients = Entry("ingredients.json")
    search = Entry("search.json")
    provenance = Entry("provenance.json")
    lock = Entry(LOCK)
    tracking = Entry(TRACKING)  # the ids of its runs in W&B and MLflow
    code = Entry("code")  # the snapshot of the packages that the workers run
    trials = Entry(TRIALS)
    table = Entry("trials.csv")
    fit = Entry("fit.json")
    surfaces = Entry("surfaces.json")  # the fitted losses on the fit's grid
    figures = Entry("figures")
    report = Entry("report.html")
    live = Entry("live.json")  # the provisional fit of a run that goes on; removed when it ends
    optuna = Entry("optuna.db")  # where it was exported
    launch = Entry("launch")  # the launch bundle
    evidence = Entry("launch/evidence.json")
    confirmation = Entry("confirmation")  # the results of the confirmation runs of the large model
    chain = Entry("chain.json")  # in the folder of a chain of stages, which is no run itself
    gains = Entry("gains")  # scores of several models on the same questions, and the table of what each gained
    parity = Entry("parity.json")  # the newest result of the parity runs of each launch format
    parity_runs = Entry(PARITY)  # their files: scratch, only their results are kept

    @property
    def base(self) -> ScoreFiles:
        """The base model's benchmark scores."""
        return ScoreFiles(self.folder / "base")

    def figure(self, name: str) -> Path:
        """By the name of a figure, which has no dot, its picture; else by the name of a file of it: objective.csv."""
        return self.figures / (name if "." in name else f"{name}.png")

    def trial(self, trial_id: str) -> TrialFiles:
        return TrialFiles(self.trials / trial_id)

    def each_trial(self) -> Iterator[TrialFiles]:
        """The files of every trial that has a folder, sorted by name."""
        return (TrialFiles(path) for path in sorted(self.trials.glob("*")) if path.is_dir())

    def records(self) -> list[Path]:
        """The path of every record, sorted by trial: of what bears its name, be it a broken link."""
        paths = (folder / RECORD for folder in self.trials.glob("*"))
        return sorted(path for path in paths if os.path.lexists(path))

    def name(self, path: Path) -> str:
        """A file's path relative to the run, as in an object store."""
        return path.relative_to(self.folder).as_posix()


def is_of_trial(name: str, trial_id: str) -> bool:
    """Whether a path relative to the run belongs to this trial."""
    return name.startswith(f"{TRIALS}/{trial_id}/")


def is_read_by_drivers(name: str) -> bool:
    """Whether a driver reads the file: not a trial's logs and models, the code, which each driver stages itself, or the
    files of parity runs.
    """
    parts = PurePosixPath(name).parts
    if parts[0] == TRIALS:
        return len(parts) == 3 and parts[2] in READ_BY_DRIVERS
    return parts[0] not in ("code", PARITY)
