"""The layout of a run directory: the path of each of its files. No other module knows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

TRIALS, RECORD, LOCK = "trials", "record.json", "lock.json"
CONFIRMATION_RESULT, CONFIRMATION_RUNS, PREVIOUS_EVIDENCE = "judgement.json", "results.csv", "previous-evidence.json"
SAVED_MODELS_LOCK = ".kept.lock"
READ_BY_DRIVERS = ("trial.json", RECORD, "questions.json")  # the files of a trial that are fitted and reported


@dataclass(frozen=True)
class ScoreFiles:
    """The files of one model's benchmark scores. A trial has only `questions`: its scores are in its record."""

    folder: Path

    @property
    def scores(self) -> Path:
        return self.folder / "scores.json"

    @property
    def failures(self) -> Path:
        return self.folder / "failures.json"

    @property
    def questions(self) -> Path:
        """The score of each question, by task."""
        return self.folder / "questions.json"


@dataclass(frozen=True)
class TrialFiles(ScoreFiles):
    """The files of one trial, in `trials/<trial id>/`."""

    @property
    def request(self) -> Path:
        return self.folder / "trial.json"

    @property
    def record(self) -> Path:
        return self.folder / RECORD

    @property
    def metrics(self) -> Path:
        """Loss, LR and speed by step, as JSON Lines."""
        return self.folder / "metrics.jsonl"

    @property
    def heartbeat(self) -> Path:
        return self.folder / "heartbeat"

    @property
    def model(self) -> Path:
        """The trained model, a Hugging Face directory, where the study saves it."""
        return self.folder / "model"

    @property
    def saved_model_note(self) -> Path:
        """The objective of the trained model beside it."""
        return self.folder / "kept.json"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def tensorboard(self) -> Path:
        return self.folder / "tensorboard"

    def log(self, rank: int = 0) -> Path:
        """The output of a rank of the trial."""
        return self.folder / (f"train.rank{rank}.log" if rank else "train.log")

    def torchrun_log(self, node: int) -> Path:
        return self.folder / f"torchrun.node{node}.log"


@dataclass(frozen=True)
class RunFiles:
    """The files of one run, `runs/<study name>/`."""

    folder: Path

    @property
    def study(self) -> Path:
        return self.folder / "study.yaml"

    @property
    def ingredients(self) -> Path:
        return self.folder / "ingredients.json"

    @property
    def search(self) -> Path:
        return self.folder / "search.json"

    @property
    def provenance(self) -> Path:
        return self.folder / "provenance.json"

    @property
    def lock(self) -> Path:
        return self.folder / LOCK

    @property
    def code(self) -> Path:
        """The snapshot of the packages that the workers run."""
        return self.folder / "code"

    @property
    def trials(self) -> Path:
        return self.folder / TRIALS

    @property
    def base(self) -> ScoreFiles:
        """The base model's benchmark scores."""
        return ScoreFiles(self.folder / "base")

    @property
    def table(self) -> Path:
        return self.folder / "trials.csv"

    @property
    def fit(self) -> Path:
        return self.folder / "fit.json"

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    def figure(self, name: str) -> Path:
        return self.figures / f"{name}.png"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def launch(self) -> Path:
        """The launch bundle."""
        return self.folder / "launch"

    @property
    def evidence(self) -> Path:
        return self.launch / "evidence.json"

    @property
    def confirmation(self) -> Path:
        """The results of the confirmation runs of the large model."""
        return self.folder / "confirmation"

    def trial(self, trial_id: str) -> TrialFiles:
        return TrialFiles(self.trials / trial_id)

    def each_trial(self) -> Iterator[TrialFiles]:
        """The files of every trial that has a folder, sorted by name."""
        return (TrialFiles(path) for path in sorted(self.trials.glob("*")) if path.is_dir())

    def records(self) -> list[Path]:
        """The path of every record, sorted by trial."""
        return sorted(self.trials.glob(f"*/{RECORD}"))

    def name(self, path: Path) -> str:
        """A file's path relative to the run, as in an object store."""
        return path.relative_to(self.folder).as_posix()


def is_of_trial(name: str, trial_id: str) -> bool:
    """Whether a path relative to the run belongs to this trial."""
    return name.startswith(f"{TRIALS}/{trial_id}/")


def is_read_by_drivers(name: str) -> bool:
    """Whether a driver reads the file: not a trial's logs and models, nor the code, which each driver stages itself."""
    parts = PurePosixPath(name).parts
    if parts[0] == TRIALS:
        return len(parts) == 3 and parts[2] in READ_BY_DRIVERS
    return parts[0] != "code"
