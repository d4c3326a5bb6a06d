"""What is compared: every task, and the means over task groups and languages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.scores import paired
from analysis.scores.paired import Difference
from analysis.scores.read import Scored, ScoredModel
from sweep.study import LANGUAGES, Score
from sweep.study.record import SCORING

Kind = Literal["task", "group", "language"]


@dataclass(frozen=True)
class ScoreTarget:
    """The equally weighted mean of `tasks`. `left_out`: tasks of the group that are on another scale.

    `sign` is 1 where higher is better, else -1. `metric` is None where the tasks' metrics differ.
    """

    name: str
    kind: Kind
    tasks: tuple[str, ...]
    sign: int
    group: str | None = None
    language: str | None = None
    metric: str | None = None
    left_out: tuple[str, ...] = ()
    unit_scale: bool = True

    def value(self, model: ScoredModel) -> float | None:
        """None where any task has no score: the mean of the others would be another score."""
        scores = [model.answers[task].score.value for task in self.tasks if task in model.answers]
        return float(np.mean(scores)) if len(scores) == len(self.tasks) else None

    def questions(self, model: ScoredModel) -> int | None:
        counts = [model.answers[task].score.n for task in self.tasks if task in model.answers]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(self.tasks) else None

    def difference(self, one: ScoredModel, other: ScoredModel) -> Difference | str:
        """`one` minus `other`, or why there is none."""
        for task in self.tasks:
            if why := _why_none(task, one, other):
                return why if self.kind == "task" else f"{task}: {why}"
        return paired.mean([paired.difference(one.answers[t], other.answers[t]) for t in self.tasks])


def _why_none(task: str, one: ScoredModel, other: ScoredModel) -> str | None:
    if lacking := [model.failures for model in (one, other) if task not in model.answers]:
        reasons = [failed.get(key) for key in (task, SCORING) for failed in lacking]
        return next((why for why in reasons if why), "not scored")
    return paired.incomparable(one.answers[task], other.answers[task])


def targets(scored: Scored) -> list[ScoreTarget]:
    """Tasks by group and name, then the groups, then the languages; a group of one task is that task under its name."""
    facts = _facts(scored.models)
    tasks = [_task(scored, name, score) for name, score in facts.items()]
    tasks.sort(key=lambda task: (task.group or "", task.name))
    groups = sorted({task.group for task in tasks if task.group})
    together = [_mean(tasks, name, "group") for name in groups]
    together += [_mean(tasks, name, "language") for name in LANGUAGES if any(t.language == name for t in tasks)]
    return [*tasks, *together]


def distinct(every: Sequence[ScoreTarget]) -> list[ScoreTarget]:
    """Without repeats: a group may have the tasks of a single task, or a language those of a group."""
    first: dict[frozenset[str], ScoreTarget] = {}
    for target in every:
        first.setdefault(frozenset(target.tasks), target)
    return list(first.values())


def _facts(models: Sequence[ScoredModel]) -> dict[str, Score | None]:
    """The first score of each task; None for a task that failed everywhere."""
    facts: dict[str, Score | None] = {}
    for model in models:
        facts |= {task: facts.get(task) for task in model.failures if task != SCORING}
        facts |= {task: facts.get(task) or answers.score for task, answers in model.answers.items()}
    return facts


def _task(scored: Scored, name: str, score: Score | None) -> ScoreTarget:
    if score is None:
        return ScoreTarget(name=name, kind="task", tasks=(name,), sign=1)
    sign = 1 if score.higher_is_better else -1
    values = [model.answers[name].score.value for model in scored.models if name in model.answers]
    unit = sign > 0 and all(0 <= value <= 1 for value in values)
    return ScoreTarget(
        name=name,
        kind="task",
        tasks=(name,),
        sign=sign,
        group=score.group,
        language=score.language,
        metric=score.metric,
        unit_scale=unit,
    )


def _mean(tasks: Sequence[ScoreTarget], name: str, kind: Kind) -> ScoreTarget:
    """The mean over one scale: of several tasks, those from 0 to 1 for which higher is better."""
    members = [task for task in tasks if name == (task.group if kind == "group" else task.language)]
    kept = [task for task in members if task.unit_scale] or members[:1] if len(members) > 1 else members
    languages, metrics = {task.language for task in kept}, {task.metric for task in kept}
    return ScoreTarget(
        name=name,
        kind=kind,
        tasks=tuple(task.name for task in kept),
        sign=kept[0].sign,
        group=name if kind == "group" else None,
        language=languages.pop() if len(languages) == 1 else None,
        metric=metrics.pop() if len(metrics) == 1 else None,
        left_out=tuple(task.name for task in members if task not in kept),
        unit_scale=all(task.unit_scale for task in kept),
    )
