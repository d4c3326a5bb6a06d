"""Which scores may stand beside each other: those of one and the same questions.

A study whose `benchmarks.limit` or `shots` changed on the way, or whose task file did, has trials that were asked other
questions. A best trial, a surface or a rank correlation over both would compare the questions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from analysis.scores import paired
from analysis.scores.read import Scored, ScoredModel
from sweep.study.record import Score


def comparable(scored: Scored) -> Scored:
    """Without the trials' scores of other questions than the base model's, or, where it has none, than most trials'."""
    asked = _asked(scored)
    return replace(scored, trials=[_kept(model, asked) for model in scored.trials])


def _asked(scored: Scored) -> dict[str, Score]:
    """A score of each task that is of the questions to keep to."""
    every: dict[str, list[Score]] = {}
    for model in scored.trials:
        for task, answers in model.answers.items():
            every.setdefault(task, []).append(answers.score)
    return {task: _commonest(scores) for task, scores in every.items()} | {
        task: answers.score for task, answers in scored.base.answers.items()
    }


def _commonest(scores: list[Score]) -> Score:
    asked = Counter((score.version, score.prompt_sha256, score.metric) for score in scores)
    most = asked.most_common(1)[0][0]
    return next(score for score in scores if (score.version, score.prompt_sha256, score.metric) == most)


def _kept(model: ScoredModel, asked: dict[str, Score]) -> ScoredModel:
    apart = {task: paired.of_another(answers.score, asked[task]) for task, answers in model.answers.items()}
    why = {task: f"left out, {reason}" for task, reason in apart.items() if reason}
    return ScoredModel({task: a for task, a in model.answers.items() if task not in why}, model.failures | why)
