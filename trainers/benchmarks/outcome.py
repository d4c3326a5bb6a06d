"""The outcome of scoring one model: scores with their standard errors, a number per question, and failures."""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweep.study import Score
from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import ScoreFiles
from sweep.study.numbers import json_text

REASON_LENGTH = 300


@dataclass(frozen=True)
class ScoringOutcome:
    """Scores by task; `questions`: one number each, in one order for all models; `failures`: why a task has none."""

    scores: dict[str, Score] = field(default_factory=dict)
    questions: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A score that is not a number is a failure: no file of a run has NaN."""
        lost = {task: "its score is not a number" for task, one in self.scores.items() if not math.isfinite(one.value)}
        if lost:
            sound = {task: one for task, one in self.scores.items() if task not in lost}
            object.__setattr__(self, "scores", sound)
            object.__setattr__(self, "failures", self.failures | lost)

    def __or__(self, other: ScoringOutcome) -> ScoringOutcome:
        return ScoringOutcome(
            self.scores | other.scores, self.questions | other.questions, self.failures | other.failures
        )

    def write(self, folder: Path) -> None:
        """Write `questions.json`; the scores are written with the record."""
        _write(ScoreFiles(folder).questions, self.questions)

    def write_base(self, folder: Path) -> None:
        """Write the outcome of the base model, for `read_base`."""
        self.write(folder)
        _write(ScoreFiles(folder).failures, self.failures)
        _write(ScoreFiles(folder).scores, {task: score.model_dump() for task, score in self.scores.items()})

    @staticmethod
    def read_base(folder: Path) -> ScoringOutcome:
        files = ScoreFiles(folder)
        every = (files.scores, files.questions, files.failures)
        scores, questions, failures = (json.loads(path.read_text(encoding="utf-8")) for path in every)
        return ScoringOutcome(
            {task: Score.model_validate(score) for task, score in scores.items()}, questions, failures
        )


def failed(tasks: Iterable[str], error: BaseException | str) -> ScoringOutcome:
    """The outcome of tasks that all failed for one reason."""
    return ScoringOutcome(failures=dict.fromkeys(tasks, one_line(error)))


def one_line(error: BaseException | str) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, BaseException) and not isinstance(error, ValueError):
        text = f"{type(error).__name__}: {text}"
    return text[:REASON_LENGTH]


def score(values: Sequence[float], **about: Any) -> Score:
    """The mean over questions with its standard error, the standard deviation / sqrt(n)."""
    spread = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return Score(value=statistics.fmean(values), stderr=spread, n=len(values), **about)


def sha256(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def first_rank() -> bool:
    """Whether this process is the worker of its trial that writes (torchrun's rank 0, or the only one)."""
    return os.environ.get("RANK", "0") == "0"


def _write(path: Path, content: Any) -> None:
    write_atomically(path, json_text(content, ensure_ascii=False))
