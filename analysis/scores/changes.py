"""Rows of the table: base model, the winner's trial, the best trial, and whether they can be told apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.fit_file.scores import BestTrial, Change, ScoreRow, Verdict
from analysis.scores import paired
from analysis.scores.paired import Difference
from analysis.scores.read import Scored, ScoredModel
from analysis.scores.targets import ScoreTarget


def rows(scored: Scored, every: Sequence[ScoreTarget], winner: int | None, level: float) -> list[ScoreRow]:
    """One for each target. `winner` is the index of the trial that stands for the winner; None where there is none."""
    model = scored.trials[winner] if winner is not None else ScoredModel({}, {})
    apart = [target.difference(model, scored.base) for target in every]
    judged = [d for d in apart if isinstance(d, Difference)]
    corrected = iter(paired.holm([d.p_value for d in judged]))
    p_values = [float(next(corrected)) if isinstance(d, Difference) else None for d in apart]
    told = sum(p is not None and p <= 1 - level for p in p_values)
    next_level = (1 - level) / max(1, len(judged) - told)  # at which Holm's next comparison would be decided
    return [
        _row(scored, target, model, d, p, level, next_level)
        for target, d, p in zip(every, apart, p_values, strict=True)
    ]


def _row(
    scored: Scored,
    target: ScoreTarget,
    model: ScoredModel,
    d: Difference | str,
    p: float | None,
    level: float,
    next_level: float,
) -> ScoreRow:
    row = ScoreRow(
        name=target.name,
        kind=target.kind,
        tasks=target.tasks,
        left_out=target.left_out,
        group=target.group,
        language=target.language,
        metric=target.metric,
        higher_is_better=target.sign > 0,
        questions=target.questions(model) or target.questions(scored.base),
        base=target.value(scored.base),
        winner=target.value(model),
        best=best(scored, target, model, level),
    )
    if isinstance(d, str) or p is None:
        return row.model_copy(update={"why_no_change": d})
    verdict = _verdict(d, p, target.sign, level)
    needed = d.needed(next_level) if verdict == "not distinguishable" else None
    return row.model_copy(update={"change": change(d, p, level), "verdict": verdict, "needed": needed})


def change(d: Difference, p: float, level: float) -> Change:
    return Change(
        value=d.value, interval=d.interval(level), n=d.n, p_value=d.p_value, p_corrected=p, unpaired=d.unpaired
    )


def _verdict(d: Difference, p: float, sign: int, level: float) -> Verdict:
    if p > 1 - level:
        return "not distinguishable"
    return "better" if sign * d.centre > 0 else "worse"


def best(scored: Scored, target: ScoreTarget, winner: ScoredModel, level: float) -> BestTrial | None:
    """The best trial of the target, with its interval widened for the choice (Bonferroni). None where none has it."""
    values = [target.value(model) for model in scored.trials]
    having = [k for k, value in enumerate(values) if value is not None]
    if not having:
        return None
    k = max(having, key=lambda k: target.sign * (values[k] or 0.0))
    place, value = scored.places[k], values[k]
    assert value is not None
    found = BestTrial(trial_id=place.trial_id, almr=place.almr, lr=place.lr, value=value, among=len(having))
    wide = 1 - (1 - level) / len(having)
    against = {"change": scored.base} | ({"above_winner": winner} if winner is not scored.trials[k] else {})
    for name, other in against.items():
        d = target.difference(scored.trials[k], other)
        if isinstance(d, Difference):
            found = found.model_copy(update={name: d.value, f"{name}_interval": d.interval(wide)})
    return found


def nearest(scored: Scored, distances: np.ndarray) -> int | None:
    """The scored trial at the smallest distance, the first of several."""
    having = [k for k, model in enumerate(scored.trials) if model.answers]
    return min(having, key=lambda k: float(distances[k])) if having else None
