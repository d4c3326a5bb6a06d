"""Rows of the table of scores: base model, chosen trial, best trial, and the verdict on the change."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.fit_file.scores import BestTrial, Change, ScoreRow, Verdict
from analysis.scores import paired
from analysis.scores.paired import Difference
from analysis.scores.read import ScoredModel
from analysis.scores.score_optima import ScoredRun
from analysis.scores.targets import ScoreTarget


def rows(run: ScoredRun, shown: Sequence[ScoreTarget]) -> list[ScoreRow]:
    """One row for each target, compared at the level of the winner."""
    differences = [target.difference(run.chosen, run.scored.base) for target in shown]
    p_values = [d.p_value if isinstance(d, Difference) else None for d in differences]
    corrected = paired.holm_of_known(p_values)
    undecided = sum(p is not None and p > 1 - run.level for p in corrected)
    next_level = (1 - run.level) / max(1, undecided)  # the significance that Holm asks of the next comparison
    return [_row(run, *compared, next_level) for compared in zip(shown, differences, corrected, strict=True)]


def _row(run: ScoredRun, target: ScoreTarget, d: Difference | str, p: float | None, next_level: float) -> ScoreRow:
    """`d`: the chosen trial minus the base model, or why there is none; `p`: its Holm-corrected p-value."""
    row = ScoreRow(
        name=target.name,
        kind=target.kind,
        tasks=target.tasks,
        left_out=target.left_out,
        group=target.group,
        language=target.language,
        metric=target.metric,
        higher_is_better=target.sign > 0,
        questions=target.questions(run.chosen) or target.questions(run.scored.base),
        base=target.value(run.scored.base),
        winner=target.value(run.chosen),
        best=best(run, target),
    )
    if isinstance(d, str) or p is None:
        return row.model_copy(update={"why_no_change": d})
    found = verdict(d, p, target.sign, run.level)
    needed = d.needed(next_level) if found == "not distinguishable" else None
    change = Change(
        value=d.value, interval=d.interval(run.level), n=d.n, p_value=d.p_value, p_corrected=p, unpaired=d.unpaired
    )
    return row.model_copy(update={"change": change, "verdict": found, "needed": needed})


def verdict(d: Difference, p: float, sign: int, level: float) -> Verdict:
    """`p`: Holm-corrected; `sign`: 1 where higher is better, else -1."""
    if p > 1 - level:
        return "not distinguishable"
    return "better" if sign * d.centre > 0 else "worse"


def best(run: ScoredRun, target: ScoreTarget) -> BestTrial | None:
    """The best trial of the target, its intervals widened for the choice (Bonferroni). None where no trial has it."""
    trials = run.scored.trials
    known = {k: value for k, model in enumerate(trials) if (value := target.value(model)) is not None}
    if not known:
        return None
    k = max(known, key=lambda k: target.sign * known[k])
    point = run.scored.points[k]
    found = BestTrial(trial_id=point.trial_id, almr=point.almr, lr=point.lr, value=known[k], among=len(known))
    wide = 1 - (1 - run.level) / len(known)
    others: dict[str, ScoredModel] = {"change": run.scored.base}
    if run.chosen is not trials[k]:
        others["above_winner"] = run.chosen
    for name, other in others.items():
        d = target.difference(trials[k], other)
        if isinstance(d, Difference):
            found = found.model_copy(update={name: d.value, f"{name}_interval": d.interval(wide)})
    return found
