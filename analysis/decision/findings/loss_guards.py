"""The refusal of a winner that breaks a guard of a loss: the forgetting guard, or that of a source."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.decision.case import Case
from analysis.decision.findings import next_trials
from analysis.decision.objectives import GuardedGoal
from analysis.fit_file.findings import Finding, NextTrial
from analysis.fit_file.result import language_label
from analysis.table.table import TriedPoints
from sweep.study import numbers


def refused(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    """One refusal for all guards: a point may keep each of them, and yet none keep them together."""
    if not isinstance(case.goal, GuardedGoal):
        return
    goal, at = case.goal, case.optima.mean.argmin()
    kept = {name: float(goal.probability(case.lattice, name).flat[at]) for name in goal.bounds}
    if min(kept.values()) >= goal.level:
        return
    losses = {name: f"{language_label(case.study, name)} loss" for name in kept}
    several, level = len(kept) > 1, numbers.level(goal.level)
    one = "guard" if case.objective.loss_guards else "forgetting guard"
    which = "guards" if several else one
    limits = " and ".join(f"{losses[name]} at most {bound:.4f} nats" for name, bound in goal.bounds.items())
    reached = (numbers.percent(share) + (f" for the {losses[name]}" if several else "") for name, share in kept.items())
    why = (
        f"no point keeps the {which}, {limits}, with a probability of {level}{' each' if several else ''}: the safest, "
        f"ALMR {numbers.almr(case.winner.almr)}, LR {numbers.lr(case.winner.lr)}, reaches {' and '.join(reached)}"
    )
    broken = [name for name, share in kept.items() if share < goal.level]
    yield Finding(code="guard", message=why, next=_next(case, measured, broken))


def _next(case: Case, measured: TriedPoints, broken: list[str]) -> tuple[NextTrial, ...]:
    """Less change of the base model, where the original language's text is hurt; else points around."""
    sources = case.study.corpora.by_name if case.study else {}
    additional = {"additional", *(name for name, source in sources.items() if source.language == "additional")}
    gentle = set(broken) - additional
    suggest = next_trials.gentler if gentle else next_trials.around
    return suggest(measured, case.winner.almr, case.winner.lr)
