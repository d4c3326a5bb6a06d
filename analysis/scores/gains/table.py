"""Records of several models -> the table of gains: scores by task and group, changes with verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from analysis.fit_file.scores import Change
from analysis.scores import changes, paired
from analysis.scores.gains.gains_file import Gain, GainsFile, GainsModel, GainsRow, ModelScore
from analysis.scores.gains.model_record import ModelRecord, Questions
from analysis.scores.paired import Difference
from analysis.scores.read import Scored, ScoredModel
from analysis.scores.targets import ScoreTarget, distinct, targets
from sweep.study import LANGUAGES, Score

LEVEL = 0.9  # of the intervals, as a study's
GROUPS = ("Chinese", "English", "mathematics", "code", "emotional intelligence")  # of the method, in its order
OTHERS = "other tasks"
RENAMED = {"math": "mathematics"}


@dataclass(frozen=True)
class GainsEntry:
    """A model of the table with its record, None where it could not be read: `model.why` says why."""

    model: GainsModel
    record: ModelRecord | None = None
    questions: Questions = field(default_factory=dict)


@dataclass(frozen=True)
class _Pair:
    target: ScoreTarget
    model: str
    against: str
    found: Difference | str


def table(
    entries: Sequence[GainsEntry], keys: Mapping[str, str], languages: Mapping[str, str], level: float = LEVEL
) -> GainsFile:
    """`keys`: of the tasks to show, as of `TaskScore`; `languages`: the names of the study's two, where it has one."""
    scored = {entry.model.label: _scored(entry, keys, languages) for entry in entries}
    chain = [entry.model.label for entry in entries if not entry.model.reference]
    first, *others = scored.values()
    every = _ordered(distinct(targets(Scored(first, [], others))))
    shown = [target for target in every if any(target.value(model) is not None for model in scored.values())]
    pairs = [_Pair(t, one, other, t.difference(scored[one], scored[other])) for t in shown for one, other in _of(chain)]
    gains = _judged(pairs, scored, level)
    rows = [_row(target, scored, [g for p, g in gains if p.target is target]) for target in shown]
    return GainsFile(
        level=level,
        comparisons=sum(gain.change is not None for _, gain in gains),
        models=tuple(entry.model for entry in entries),
        rows=tuple(rows),
        failures={label: model.failures for label, model in scored.items() if model.failures},
        notes=(*_prompts(scored), *_notes(rows)),
    )


def _of(chain: Sequence[str]) -> list[tuple[str, str]]:
    """Each model of the chain against the first, and against the one before."""
    return [
        (one, other) for place, one in enumerate(chain[1:], 1) for other in dict.fromkeys((chain[0], chain[place - 1]))
    ]


def _scored(entry: GainsEntry, keys: Mapping[str, str], languages: Mapping[str, str]) -> ScoredModel:
    if (record := entry.record) is None:
        return ScoredModel({}, dict.fromkeys(keys, entry.model.why or "the model could not be read"))
    answers = {task: record.answers(task, key, entry.questions) for task, key in keys.items()}
    known = {task: replace(a, score=_grouped(a.score, languages)) for task, a in answers.items() if a}
    return ScoredModel(known, {task: record.failures.get(task, "not scored") for task in keys if task not in known})


def _grouped(score: Score, languages: Mapping[str, str]) -> Score:
    """With the group of this table: the method's, or the language of the embedded suite."""
    return score.model_copy(update={"group": _group(score, languages), "language": None})


def _group(score: Score, languages: Mapping[str, str]) -> str:
    own = score.group or ""
    if own.startswith("cloze, ") and score.language in LANGUAGES:
        return languages.get(score.language, f"{score.language} language")
    first = own.partition(" ")[0]
    return first if first in GROUPS else RENAMED.get(own, own or OTHERS)


def _ordered(every: Sequence[ScoreTarget]) -> list[ScoreTarget]:
    """By group, in the method's order; of each the mean first, then its tasks."""

    def place(target: ScoreTarget) -> tuple[int, str, bool, str]:
        group = target.group or OTHERS
        number = GROUPS.index(group) if group in GROUPS else len(GROUPS) + (group == OTHERS)
        return number, group, target.kind == "task", target.name

    return sorted((target for target in every if target.kind != "language"), key=place)


def _judged(pairs: Sequence[_Pair], scored: Mapping[str, ScoredModel], level: float) -> list[tuple[_Pair, Gain]]:
    """Holm's correction is over all comparisons of the table."""
    p_values = [pair.found.p_value if isinstance(pair.found, Difference) else None for pair in pairs]
    corrected = paired.holm_of_known(p_values)
    undecided = sum(p is not None and p > 1 - level for p in corrected)
    next_level = (1 - level) / max(1, undecided)  # the significance that Holm asks of the next comparison
    return [(pair, _gain(pair, p, scored, level, next_level)) for pair, p in zip(pairs, corrected, strict=True)]


def _gain(pair: _Pair, p: float | None, scored: Mapping[str, ScoredModel], level: float, next_level: float) -> Gain:
    found, gain = pair.found, Gain(model=pair.model, against=pair.against)
    if isinstance(found, str) or p is None:
        return gain.model_copy(update={"why": found})
    change = Change(
        value=found.value,
        interval=found.interval(level),
        n=found.n,
        p_value=found.p_value,
        p_corrected=p,
        unpaired=found.unpaired,
    )
    won, lost = _turned(pair, scored)
    verdict = changes.verdict(found, p, pair.target.sign, level)
    needed = found.needed(next_level) if verdict == "not distinguishable" else None
    return gain.model_copy(update={"change": change, "verdict": verdict, "won": won, "lost": lost, "needed": needed})


def _turned(pair: _Pair, scored: Mapping[str, ScoredModel]) -> tuple[int | None, int | None]:
    """On how many questions the model is better, and on how many worse; None where questions are not known."""
    won = lost = 0
    for task in pair.target.tasks:
        one, other = (scored[label].answers[task].questions for label in (pair.model, pair.against))
        if one is None or other is None or len(one) != len(other):
            return None, None
        apart = pair.target.sign * (one - other)
        won, lost = won + int(np.sum(apart > 0)), lost + int(np.sum(apart < 0))
    return won, lost


def _row(target: ScoreTarget, scored: Mapping[str, ScoredModel], gains: Sequence[Gain]) -> GainsRow:
    counts = [count for model in scored.values() if (count := target.questions(model)) is not None]
    values = {label: score for label, model in scored.items() if (score := _value(target, model))}
    return GainsRow(
        name=target.name,
        kind="group" if target.kind == "group" else "task",
        group=target.group or OTHERS,
        tasks=target.tasks,
        left_out=target.left_out,
        metric=target.metric,
        higher_is_better=target.sign > 0,
        questions=max(counts, default=None),
        scores=values,
        gains=tuple(gains),
    )


def _value(target: ScoreTarget, model: ScoredModel) -> ModelScore | None:
    if (value := target.value(model)) is None:
        return None
    errors = [model.answers[task].score.stderr for task in target.tasks]
    known = [error for error in errors if error is not None]
    stderr = float(np.linalg.norm(known)) / len(errors) if len(known) == len(errors) else None
    return ModelScore(value=value, stderr=stderr, n=target.questions(model))


def _prompts(scored: Mapping[str, ScoredModel]) -> Iterator[str]:
    """What was asked of a model in other words than of the first that has the task: by another chat template."""
    first: dict[str, tuple[str, Score]] = {}
    for label, model in scored.items():
        for task, answers in model.answers.items():
            other, asked = first.setdefault(task, (label, answers.score))
            if apart := paired.other_questions(answers.score, asked):
                yield f"{task}: {label} is not comparable with {other}: {apart}"


def _notes(rows: Sequence[GainsRow]) -> Iterator[str]:
    unpaired = Counter(g.change.unpaired for row in rows for g in row.gains if g.change and g.change.unpaired)
    for why, count in unpaired.items():
        yield f"The intervals of {count} changes are too wide, since they are from the two standard errors: {why}"
    for row in rows:
        if row.left_out:
            yield f"{row.name} is the mean of its tasks on a scale from 0 to 1, without {', '.join(row.left_out)}"
