"""What scoring one model comes to: scores with their standard errors, each question's outcome, and what went wrong."""

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

from sweep.study.record import Score

REASON_LENGTH = 300


@dataclass(frozen=True)
class ScoringOutcome:
    """`questions`: of each task a number a question, in an order that is the same for every model. `failures`: the
    reason, in one line, why a task has no score.
    """

    scores: dict[str, Score] = field(default_factory=dict)
    questions: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def __or__(self, other: ScoringOutcome) -> ScoringOutcome:
        return ScoringOutcome(
            self.scores | other.scores, self.questions | other.questions, self.failures | other.failures
        )

    def write(self, folder: Path) -> None:
        """`questions.json`, whole or not at all. The scores are the record's."""
        replace(folder / "questions.json", self.questions)

    def write_base(self, folder: Path) -> None:
        self.write(folder)
        replace(folder / "failures.json", self.failures)
        replace(folder / "scores.json", {task: score.model_dump() for task, score in self.scores.items()})

    @staticmethod
    def read_base(folder: Path) -> ScoringOutcome:
        names = ("scores", "questions", "failures")
        scores, questions, failures = (json.loads((folder / f"{name}.json").read_text()) for name in names)
        return ScoringOutcome(
            {task: Score.model_validate(score) for task, score in scores.items()}, questions, failures
        )


def failed(tasks: Iterable[str], error: BaseException | str) -> ScoringOutcome:
    return ScoringOutcome(failures=dict.fromkeys(tasks, one_line(error)))


def one_line(error: BaseException | str) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, BaseException) and not isinstance(error, ValueError):
        text = f"{type(error).__name__}: {text}"
    return text[:REASON_LENGTH]


def score(values: Sequence[float], **about: Any) -> Score:
    """The mean over questions, and its standard error: the standard deviation over the root of n."""
    spread = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return Score(value=statistics.fmean(values), stderr=spread, n=len(values), **about)


def sha256(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def first_rank() -> bool:
    """Whether this process is the one of its gang that writes; a trial of one worker is."""
    return os.environ.get("RANK", "0") == "0"


def replace(path: Path, content: Any) -> None:
    """A reader sees the old file or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    unfinished.replace(path)
