"""Leaves out scores for other questions than those of the base model.

If a study's `benchmarks.limit`, `shots` or task file changed during the run, its trials were scored on different
questions: a best trial, a surface or a rank correlation over both would compare the questions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from analysis.scores import paired
from analysis.scores.read import Scored, ScoredModel
from sweep.study import Score


def comparable(scored: Scored) -> Scored:
    """Without the scores for other questions than the base model's, or, where it has none, than most trials'."""
    reference = _reference(scored)
    return replace(scored, trials=[_kept(model, reference) for model in scored.trials])


def _reference(scored: Scored) -> dict[str, Score]:
    """For each task, a score for the questions that are compared."""
    every: dict[str, list[Score]] = {}
    for model in scored.trials:
        for task, answers in model.answers.items():
            every.setdefault(task, []).append(answers.score)
    return {task: _commonest(scores) for task, scores in every.items()} | {
        task: answers.score for task, answers in scored.base.answers.items()
    }


def _commonest(scores: list[Score]) -> Score:
    questions = Counter((score.version, score.prompt_sha256, score.metric) for score in scores)
    most = questions.most_common(1)[0][0]
    return next(score for score in scores if (score.version, score.prompt_sha256, score.metric) == most)


def _kept(model: ScoredModel, reference: dict[str, Score]) -> ScoredModel:
    apart = {task: paired.other_questions(answers.score, reference[task]) for task, answers in model.answers.items()}
    why = {task: f"left out: {reason}" for task, reason in apart.items() if reason}
    return ScoredModel({task: a for task, a in model.answers.items() if task not in why}, model.failures | why)
