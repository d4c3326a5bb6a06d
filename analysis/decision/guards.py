"""The guards of losses at the winner: the forgetting guard, and those of sources."""

from __future__ import annotations

from analysis.decision.case import Case
from analysis.decision.objectives import GuardedGoal, base_loss
from analysis.fit_file.fit_file import ForgettingGuard
from analysis.fit_file.sources import LossGuard


def forgetting(case: Case) -> ForgettingGuard | None:
    """None without one."""
    percent = case.objective.forgetting_guard_percent
    base = base_loss(case.table, "original")
    if percent is None or base is None:
        return None
    bound = case.objective.bound(base)
    return ForgettingGuard(percent=percent, bound=bound, probability=_probability(case, "original", bound))


def of_losses(case: Case) -> tuple[LossGuard, ...]:
    """The guards of sources, in the study's order."""
    found = []
    for guard in case.objective.loss_guards:
        base = base_loss(case.table, guard.name)
        assert base is not None  # or there were no goal
        bound, percent = guard.bound(base), guard.at_most_percent or 0.0
        kept = _probability(case, guard.name, bound)
        found.append(LossGuard(source=guard.name, percent=percent, base=base, bound=bound, probability=kept))
    return tuple(found)


def _probability(case: Case, name: str, bound: float) -> float:
    """That the loss at the winner is within the bound."""
    one = GuardedGoal({name: bound}, case.objective.level)
    return float(one.probability(case.lattice, name).flat[case.optima.mean.argmin()])
