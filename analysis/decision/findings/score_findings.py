"""Refusals and warnings from benchmark scores: guards that are broken or cannot be checked, scores that fell."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.decision.case import Case
from analysis.decision.findings import next_trials
from analysis.fit_file.findings import Finding
from analysis.fit_file.scores import GuardVerdict
from analysis.table.table import TriedPoints
from sweep.study import numbers


def refused(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    """A guard is a condition of the launch: one that cannot be checked refuses as a broken one does."""
    if case.objective.score_guards and case.scores is None:
        words = "; ".join(guard.words for guard in case.objective.score_guards)
        why = f"no guard can be checked ({words}), because nothing was scored: score the trials and the base model"
        yield Finding(code="unscored", message=why)
    for guard in case.scores.guards if case.scores else ():
        if guard.probability is None:
            yield Finding(code="unscored", message=f"a guard cannot be checked, {guard.guard}: {guard.why_not}")
        elif not guard.kept:
            # Lower ALMRs and LRs limit a drop; a required gain gets no suggestion.
            run = next_trials.gentler(measured, case.winner.almr, case.winner.lr) if guard.least <= 0 else ()
            yield Finding(code="guard", message=_broken(guard, case.winner.level), next=run)


def _broken(guard: GuardVerdict, level: float) -> str:
    required = numbers.level(level)
    assert guard.change is not None
    assert guard.interval is not None
    return (
        f"a guard is broken, {guard.guard}: at the winner the score changes by {guard.change:+.4f} ({required} "
        f"interval {guard.interval.low:+.4f} to {guard.interval.high:+.4f}) against the base model, by {guard.source}. "
        f"The guard is kept with a probability of {numbers.percent(guard.probability)}, and {required} is required"
    )


def warned(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    """Scores significantly worse than the base model's, and scores that are missing or far from the winner."""
    if case.scores is None or not case.scores.winner_trial:
        return
    worse = [(row.name, row.change.value) for row in case.scores.rows if row.verdict == "worse" and row.change]
    if worse:
        names = ", ".join(f"{name} {change:+.4f}" for name, change in worse)
        yield Finding(code="score", message=f"scores fell at the winner's trial, against the base model: {names}")
    if all(row.base is None for row in case.scores.rows):
        yield Finding(code="score", message="changes against the base model are unknown: score the base model")
    if (steps := case.scores.winner_trial.steps) > 1:
        why = f"no trial near the winner was scored, the nearest is {steps:.1f} grid steps away: score one beside it"
        run = next_trials.around(measured, case.winner.almr, case.winner.lr)
        yield Finding(code="score", message=why, next=run)
