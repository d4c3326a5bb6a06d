"""Table -> Fit: the surfaces, the curve, the winner and what speaks against it, and the same as `fit.json`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from threadpoolctl import threadpool_limits

from analysis import horizons
from analysis import table as tables
from analysis.decision import caveats, refusals
from analysis.decision.curve import AlmrPoint, Coupling, CurvePoint, best_almrs, best_lrs, coupling
from analysis.decision.edge import DivergenceEdge, divergence_edge
from analysis.decision.findings import Case, Finding
from analysis.decision.front import FrontPoint, front
from analysis.decision.objectives import Goal, Guarded, Weighted, goal
from analysis.decision.winner import Region, Winner, choose, region
from analysis.horizons import HorizonFit
from analysis.scores.file import ScoresFile
from analysis.scores.judge import judge
from analysis.scores.read import Scored
from analysis.scores.read import read as read_scores
from analysis.surfaces.checks import CrossValidation, cross_validate
from analysis.surfaces.optima import Lattice, Optima
from analysis.surfaces.surface import Surface, fit_languages
from analysis.transfer import Transfer, carry
from sweep.study import LANGUAGES, InputError, Objective, Study
from sweep.trial import Schema


class Counts(Schema):
    complete: int
    diverged: int
    failed: int
    excluded: int


class Guard(Schema):
    """The forgetting guard: the original language's loss is to be at most `bound` nats.

    `probability`: that the winner keeps it.
    """

    percent: float
    bound: float
    probability: float


class FitFile(Schema):
    """`fit.json`. Losses in nats per token; `noise` is one trial's sd around its surface at the winner, `forms` the
    coordinate of ALMR that each surface is smooth in; `trials` counts rows.

    `weights` is None under a forgetting guard, `guard` is None under weights. `horizons` has the winner at each token
    budget that the trials were measured at, the full one last; it is empty where that is the only one.
    `scores` is None where nothing was scored.
    """

    schema_version: int = 2
    study: str
    weights: dict[str, float] | None
    guard: Guard | None
    winner: Winner
    region: Region | None
    curve: list[CurvePoint]
    best_almr: list[AlmrPoint]
    coupling: Coupling | None
    front: list[FrontPoint]
    divergence: DivergenceEdge
    forms: dict[str, str]
    noise: dict[str, float]
    cross_validation: dict[str, CrossValidation]
    trials: Counts
    refusals: list[Finding]
    warnings: list[Finding]
    transfer: Transfer | None
    horizons: tuple[HorizonFit, ...] = ()
    scores: ScoresFile | None = None


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
        named = getattr(self.study.corpora, language).language if self.study and language in LANGUAGES else None
        return named or language


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
        weights=case.goal.weights if isinstance(case.goal, Weighted) else None,
        guard=_guard(case),
        winner=case.winner,
        region=case.region,
        curve=case.curve,
        best_almr=best_almrs(case.optima, objective.level),
        # Under a guard the best LR at an ALMR is where the guard stops it, which says nothing of how the dials act.
        coupling=coupling(case.optima, objective.level) if isinstance(case.goal, Weighted) else None,
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
    if isinstance(aim, Guarded):  # its optimum lies on the border of what is allowed, where no parabola helps
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


def _guard(case: Case) -> Guard | None:
    if not isinstance(case.goal, Guarded):
        return None
    percent = case.objective.forgetting_guard_percent
    assert percent is not None  # or the goal would be weights
    at = case.optima.mean.argmin()
    return Guard(
        percent=percent, bound=case.goal.bound, probability=float(case.goal.probability(case.lattice).ravel()[at])
    )


def _count(table: pd.DataFrame) -> Counts:
    status = table["status"].value_counts()
    numbers = {name: int(status.get(name, 0)) for name in ("complete", "diverged", "failed")}
    return Counts(**numbers, excluded=int(table["excluded"].notna().sum()))
