"""Table -> Fit: the surfaces, the curve, the winner and what speaks against it, and the same as `fit.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.decision import guards, sources
from analysis.decision.case import Alone, Case
from analysis.decision.curve import best_almrs, best_lrs, coupling, divergence_edge, front
from analysis.decision.findings import caveats, refusals
from analysis.decision.objectives import Goal, WeightedGoal, goal, over_tried
from analysis.decision.winner import choose, region
from analysis.fit import alone, horizons
from analysis.fit_file.findings import Finding
from analysis.fit_file.fit_file import FitFile, HorizonFit, TrainedBy, TrialCounts
from analysis.fit_file.result import FitResult
from analysis.fit_file.transfer import RuleEstimate, Transfer
from analysis.scores.read import Scored
from analysis.scores.read import read as read_scores
from analysis.scores.score_optima import ScoreSurface
from analysis.scores.summary import summarise
from analysis.surfaces.optima import Lattice, Optima
from analysis.surfaces.surface import Surface, cross_validate, fit_languages
from analysis.table import table as tables
from analysis.table import too_few, trainers
from analysis.transfer.carry import carry
from sweep.study import Objective, Study

OF_A_RUN = "move the folders of the others out of trials/"  # how to fit a run that holds two trainers' records


@dataclass(frozen=True, kw_only=True)
class Fit(FitResult):
    """A fit with its surfaces, from which figures are drawn.

    `surfaces` has one per language, and one per source that the objective names; `lattice` their losses over the tried
    range, `optima` the objective there. `source_surfaces`: of the sources that the objective does not name.
    `score_surfaces`: of the benchmark scores whose best ALMR and LR are known, by the score's name.
    """

    surfaces: dict[str, Surface]
    goal: Goal
    lattice: Lattice
    optima: Optima
    source_surfaces: dict[str, Surface] = field(default_factory=dict)
    score_surfaces: dict[str, ScoreSurface] = field(default_factory=dict)


@dataclass(frozen=True)
class _Given:
    """What is fitted. `scored`: the benchmark scores of the table's trials; None where nothing was scored."""

    table: pd.DataFrame
    objective: Objective
    name: str
    study: Study | None = None
    seed: int = 0
    scored: Scored | None = None
    alone: Alone | None = None


def fit_run(study: Study, run: Path) -> Fit:
    """Fit the records of a run directory, as the study asks. Writes nothing. Raises InputError as `fit_study`, and for
    a record or score that cannot be read."""
    table = tables.of_run(run, study)
    return fit_study(study, table, scored=read_scores(run, table))


def fit_study(study: Study, table: pd.DataFrame, seed: int = 0, scored: Scored | None = None) -> Fit:
    """Fit the trials of a study. `scored` are the benchmark scores of the table's trials.

    Raises InputError where fewer trials are usable than a surface needs, and for trials of two trainers.
    """
    return _fit(_Given(table, study.objective, study.name, study, seed, scored))


def fit_table(table: pd.DataFrame, objective: Objective | None = None, name: str = "table", seed: int = 0) -> Fit:
    """Fit measured trials: loss surfaces over ALMR and peak LR, the curve of best LR, and the winner. Writes nothing.

    `table` has one row per trial, as `analysis.read_table` gives it, or with these columns alone: `almr` (share of
    training tokens, 0 to 1; without it, or where all are equal, the LR is fitted alone), `lr` (peak LR),
    `loss_original` and `loss_additional` or one `loss_total` (nats per token), and where trials did not complete
    `status` (complete, diverged, failed) and `excluded` (why a row is left out, else None). `objective` weighs the
    losses or guards against forgetting; None: equal weights, intervals at 90 %. `seed` is of the posterior draws: equal
    seeds give equal numbers.

    Returns a Fit: `fit.winner`, `fit.curve`, `fit.refusals`, `fit.warnings`; `fit.file` has the whole content of
    `fit.json`, and `fit.surfaces[language].predict(almrs, lrs)` gives mean and sd in nats, (n,) each.

    Raises InputError where fewer than 9 trials are usable (5 where ALMR or LR is fitted alone), or the table lacks a
    column that the objective needs, or has trials of two trainers (column `trainer`).
    """
    table = tables.with_status(table)
    filled = alone.with_some_almr(table)
    return _fit(_Given(filled, objective or Objective(), name, seed=seed, alone=alone.of(table, filled)))


def _fit(given: _Given) -> Fit:
    given = replace(given, table=tables.in_order(given.table))
    with threadpool_limits(1):  # small matrices: more threads are slower, and their number would change last digits
        return _decided(given)


def _at_horizon(given: _Given, table: pd.DataFrame, objective: Objective) -> Case:
    """The case of a shorter budget's table. Raises InputError where too few trials are usable there."""
    too_few.refuse(table, given.name)
    return _case(given, table, objective)


def _scored(given: _Given) -> tuple[Case, dict[str, ScoreSurface]]:
    """The case of the whole table, with its scores and their surfaces.

    Raises InputError where too few or too many trials are usable.
    """
    too_few.refuse(given.table, given.name)
    tables.refuse_many(given.table, given.name)
    trainers.refuse_several(given.table, given.name, OF_A_RUN if given.study else "keep the rows of one")
    case = _case(given, given.table, given.objective)
    if given.scored is None:
        return case, {}
    scores = summarise(case, given.scored, given.seed)
    return replace(case, scores=scores.file), scores.surfaces


def _decided(given: _Given) -> Fit:
    case, scores = _scored(given)
    others = sources.other_surfaces(case, given.seed)
    file = _file(given, case, others)
    return Fit(
        table=case.table,
        file=alone.reduced(file, case.alone) if case.alone else file,
        study=given.study,
        surfaces=case.surfaces,
        goal=case.goal,
        lattice=case.lattice,
        optima=case.optima,
        source_surfaces=others,
        score_surfaces=scores,
    )


def _file(given: _Given, case: Case, others: Mapping[str, Surface]) -> FitFile:
    objective = given.objective
    refused = refusals.find(case)
    plain = objective.model_copy(update={"guards": objective.loss_guards})  # only the full budget is scored
    budgets, unfitted = horizons.find(case, lambda shorter: _at_horizon(given, shorter, plain), refused)
    moved, unmoved, rules = _transfer(case, budgets)
    return FitFile(
        study=given.name,
        weights=None if objective.forgetting_guard_percent is not None else case.goal.weights,
        guard=guards.forgetting(case),
        winner=case.winner,
        region=case.region,
        curve=case.curve,
        best_almr=best_almrs(case.optima, objective.level),
        # Under a guard the best LR at an ALMR is where the guard stops it: it says nothing of how ALMR and LR interact.
        coupling=coupling(case.optima, objective.level) if isinstance(case.goal, WeightedGoal) else None,
        front=front(case.lattice, objective.level),
        divergence=case.edge,
        forms={language: surface.scale.form.name for language, surface in case.surfaces.items()},
        noise={n: float(s.noise([case.winner.almr], [case.winner.lr])[0]) for n, s in case.surfaces.items()},
        cross_validation=case.checks,
        trials=_count(case.table),
        trainers=tuple(_trainers(case.table)),
        refusals=[*refused, *unmoved],
        warnings=[*caveats.find(case), *unfitted],
        transfer=moved,
        transfer_rules=rules,
        horizons=budgets,
        scores=case.scores,
        loss_guards=guards.of_losses(case),
        sources=sources.at_winner(case, others),
    )


def _transfer(
    case: Case, budgets: tuple[HorizonFit, ...]
) -> tuple[Transfer | None, list[Finding], tuple[RuleEstimate, ...]]:
    """The launch's setting, or why the study's rule gives none, and what every rule says."""
    if case.study is None or case.study.launch is None:
        return None, [], ()
    sound = [(one.tokens, one.winner) for one in budgets if not one.refusals]
    transfer, refused, rules = carry(case, sound)
    message = f"no setting for the launch: {refused}"
    return transfer, [Finding(code="transfer", message=message)] if refused else [], rules


def _case(given: _Given, table: pd.DataFrame, objective: Objective) -> Case:
    """What is known of a table: the given one, or the same trials at a shorter budget."""
    aim, seed = goal(objective, table), given.seed
    if names := tables.named_losses(objective):
        table = tables.with_losses(table, names)
        too_few.refuse(table, given.name)
    surfaces = fit_languages(table, tuple(dict.fromkeys([*tables.languages(table), *aim.losses])), seed)
    lattice, optima = over_tried(aim, surfaces, table, seed)
    winner = choose(optima, lattice, objective.level)
    return Case(
        table=table,
        objective=objective,
        study=given.study,
        goal=aim,
        surfaces=surfaces,
        lattice=lattice,
        optima=optima,
        winner=winner,
        region=region(optima, objective.level),
        curve=best_lrs(optima, objective.level),
        edge=divergence_edge(table, winner.almr, winner.lr),
        checks={language: cross_validate(surface) for language, surface in surfaces.items()},
        alone=given.alone,
    )


def _trainers(table: pd.DataFrame) -> Iterator[TrainedBy]:
    for (name, version), number in trainers.counts(table).items():
        if name:
            yield TrainedBy(name=name, version=version, trials=number)


def _count(table: pd.DataFrame) -> TrialCounts:
    numbers = {name: int((table["status"] == name).sum()) for name in ("complete", "diverged", "failed")}
    return TrialCounts(**numbers, excluded=int(table["excluded"].notna().sum()))
