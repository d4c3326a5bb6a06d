"""Table -> Fit: the surfaces, the curve, the winner and what speaks against it, and the same as `fit.json`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.decision.case import Case
from analysis.decision.curve import best_almrs, best_lrs, coupling
from analysis.decision.divergence import divergence_edge
from analysis.decision.findings import caveats, refusals
from analysis.decision.front import front
from analysis.decision.objectives import Goal, GuardedGoal, WeightedGoal, goal
from analysis.decision.winner import choose, region
from analysis.fit import horizons
from analysis.fit_file.findings import Finding
from analysis.fit_file.fit_file import FitFile, ForgettingGuard, HorizonFit, TrialCounts
from analysis.fit_file.transfer import Transfer
from analysis.scores.judge import judge
from analysis.scores.read import Scored
from analysis.scores.read import read as read_scores
from analysis.surfaces.checks import cross_validate
from analysis.surfaces.optima import Lattice, Optima
from analysis.surfaces.surface import Surface, fit_languages
from analysis.table import table as tables
from analysis.transfer.rules import carry
from sweep.study.errors import InputError
from sweep.study.sections.objective import Objective
from sweep.study.study import Study


@dataclass(frozen=True)
class Fit:
    """Everything that figures and reports draw from. `table` holds all rows, used or not."""

    table: pd.DataFrame
    surfaces: dict[str, Surface]
    goal: Goal
    lattice: Lattice
    optima: Optima
    file: FitFile
    study: Study | None = None

    def label(self, language: str) -> str:
        """The language's own name where the study gives one."""
        return self.study.language_name(language) if self.study else language


def fit_run(study: Study, run: Path) -> Fit:
    table = tables.mark_foreign(tables.read_run(run), study)
    return fit_study(study, table, scored=read_scores(run, table))


def fit_study(study: Study, table: pd.DataFrame, seed: int = 0, scored: Scored | None = None) -> Fit:
    """`scored` are the benchmark scores of the table's trials. Raises InputError where fewer trials are usable than a
    surface needs."""
    return fit_table(table, study.objective, study.name, study, seed, scored)


def fit_table(
    table: pd.DataFrame,
    objective: Objective,
    name: str,
    study: Study | None = None,
    seed: int = 0,
    scored: Scored | None = None,
) -> Fit:
    """Fit any table (see analysis.table), which need not come from a study. Raises InputError as `fit_study`."""
    with threadpool_limits(1):  # small matrices: more threads are slower, and their number would change last digits
        return _fit(table, objective, name, study, seed, scored)


def _fit(
    table: pd.DataFrame, objective: Objective, name: str, study: Study | None, seed: int, scored: Scored | None
) -> Fit:
    case = _case(table, objective, study, seed)
    case = replace(case, scores=judge(case, scored, seed)) if scored else case
    refused = refusals.find(case)
    plain = objective.model_copy(update={"guards": ()})  # only the full budget is scored
    budgets, unfitted = horizons.find(case, lambda shorter: _case(shorter, plain, study, seed), refused)
    moved, unmoved = _transfer(case, budgets)
    file = FitFile(
        study=name,
        weights=case.goal.weights if isinstance(case.goal, WeightedGoal) else None,
        guard=_guard(case),
        winner=case.winner,
        region=case.region,
        curve=case.curve,
        best_almr=best_almrs(case.optima, objective.level),
        # Under a guard the best LR at an ALMR is where the guard stops it, which says nothing of how the dials act.
        coupling=coupling(case.optima, objective.level) if isinstance(case.goal, WeightedGoal) else None,
        front=front(case.lattice, objective.level),
        divergence=case.edge,
        forms={language: surface.scale.form.name for language, surface in case.surfaces.items()},
        noise={n: float(s.noise([case.winner.almr], [case.winner.lr])[0]) for n, s in case.surfaces.items()},
        cross_validation=case.checks,
        trials=_count(table),
        refusals=[*refused, *unmoved],
        warnings=[*caveats.find(case), *unfitted],
        transfer=moved,
        horizons=budgets,
        scores=case.scores,
    )
    return Fit(table, case.surfaces, case.goal, case.lattice, case.optima, file, study)


def _transfer(case: Case, budgets: tuple[HorizonFit, ...]) -> tuple[Transfer | None, list[Finding]]:
    """The launch's setting, or why the study's rule gives none."""
    if case.study is None or case.study.launch is None:
        return None, []
    try:
        return carry(case, [(one.tokens, one.winner) for one in budgets]), []
    except InputError as error:
        return None, [Finding(code="transfer", message=f"no setting for the launch: {error}")]


def _case(table: pd.DataFrame, objective: Objective, study: Study | None, seed: int) -> Case:
    used = tables.usable(table)
    aim = goal(objective, table)
    surfaces = fit_languages(table, tables.languages(table) or aim.languages, seed)
    lattice = Lattice.of(surfaces, used["almr"].to_numpy(float), used["lr"].to_numpy(float), seed)
    if isinstance(aim, GuardedGoal):  # its optimum lies on the border of what is allowed, where no parabola helps
        lattice = lattice.finer()
    optima = aim.optima(lattice)
    winner = choose(optima, lattice, objective.level)
    return Case(
        table,
        objective,
        study,
        aim,
        surfaces,
        lattice,
        optima,
        winner,
        region(optima, objective.level),
        best_lrs(optima, objective.level),
        divergence_edge(table, winner.almr, winner.lr),
        {language: cross_validate(surface) for language, surface in surfaces.items()},
    )


def _guard(case: Case) -> ForgettingGuard | None:
    if not isinstance(case.goal, GuardedGoal):
        return None
    percent = case.objective.forgetting_guard_percent
    assert percent is not None  # or the goal would be weights
    at = case.optima.mean.argmin()
    return ForgettingGuard(
        percent=percent, bound=case.goal.bound, probability=float(case.goal.probability(case.lattice).ravel()[at])
    )


def _count(table: pd.DataFrame) -> TrialCounts:
    status = table["status"].value_counts()
    numbers = {name: int(status.get(name, 0)) for name in ("complete", "diverged", "failed")}
    return TrialCounts(**numbers, excluded=int(table["excluded"].notna().sum()))
