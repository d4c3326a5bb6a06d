"""What benchmark scores have to say against a winner: broken guards, guards that nothing can judge, and losses."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.decision.case import Case
from analysis.decision.findings import next_trials
from analysis.fit_file.findings import Finding, NextTrial
from analysis.fit_file.scores import GuardVerdict
from analysis.table.tried_points import TriedPoints


def refused(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    """A guard is a condition of the launch: one that cannot be judged is not known to be kept."""
    if case.objective.guards and case.scores is None:
        words = "; ".join(guard.words for guard in case.objective.guards)
        why = f"nothing was scored, so no guard can be judged ({words}): score the trials and the base model"
        yield Finding(code="unscored", message=why)
    for guard in case.scores.guards if case.scores else ():
        if guard.probability is None:
            yield Finding(code="unscored", message=f"the guard cannot be judged, {guard.guard}: {guard.why_not}")
        elif not guard.kept:
            yield Finding(code="guard", message=_broken(guard, case.winner.level), next=_gentler(case, measured, guard))


def _broken(guard: GuardVerdict, level: float) -> str:
    assert guard.change is not None
    assert guard.interval is not None
    return (
        f"{guard.guard}: at the winner it changes by {guard.change:+.4f} ({level:.0%} {guard.interval.low:+.4f} to "
        f"{guard.interval.high:+.4f}) against the base model, by {guard.source}; the guard is kept with a probability "
        f"of {guard.probability:.0%}, and {level:.0%} is asked"
    )


def _gentler(case: Case, measured: TriedPoints, guard: GuardVerdict) -> tuple[NextTrial, ...]:
    """Only a drop is mended by training more gently."""
    return next_trials.gentler(measured, case.winner.almr, case.winner.lr) if guard.least <= 0 else ()


def warned(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    """Scores that are told to be worse than the base model's, and a table that says little of the winner."""
    if case.scores is None or not case.scores.winner_trial:
        return
    worse = [(row.name, row.change.value) for row in case.scores.rows if row.verdict == "worse" and row.change]
    if worse:
        names = ", ".join(f"{name} {change:+.4f}" for name, change in worse)
        yield Finding(code="score", message=f"worse than the base model at the winner's trial: {names}")
    if all(row.base is None for row in case.scores.rows):
        yield Finding(code="score", message="the base model was not scored, so no change against it is known")
    if (steps := case.scores.winner_trial.steps) > 1:
        why = f"the scored trial nearest to the winner is {steps:.1f} steps of the grid off: score one beside it"
        run = next_trials.around(measured, case.winner.almr, case.winner.lr)
        yield Finding(code="score", message=why, next=run)
