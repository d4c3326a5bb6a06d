"""Warnings: qualifications of a winner that may be used. They are exported with it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import binom

from analysis.decision.case import Case
from analysis.decision.curve import SAFE, cautious_edge, coupling
from analysis.decision.findings import agreement, next_trials, range_edges, score_findings, texts
from analysis.decision.findings.range_edges import LABELS
from analysis.fit_file.findings import Finding, NextTrial
from analysis.fit_file.result import language_label
from analysis.surfaces.surface import Surface
from analysis.table import table as tables
from analysis.table import trainers
from analysis.table.table import HYPERPARAMETERS, TriedPoints, simulated
from sweep.study import numbers
from sweep.study.record import simulated_losses

NOTABLE_NATS = 0.02  # twice the cost of an LR that is off by a factor of 2; smaller errors change no choice
INVENTED = 3.0  # standard deviations below the best trial
MISFIT = 3.0  # leave-one-out error over noise: under 2 where the trials are dense enough
BAND, SIGNIFICANCE = 0.9, 0.01  # of the binomial test for the trials inside their bands
MOST_SHARED = 1.3  # times the error of independent losses: an interval of 90 % then holds 79 %
SURE = 3.0  # standard deviations of chance
MOST_AT_EDGE = 0.1  # share of the curve's ALMRs: its tips
FEW_ALONE = {"lr": 8, "almr": 12}  # where one hyper-parameter is fitted alone (tests/benchmarks/alone.py)
FEW_TRIALS = 16  # fitted to a dozen random cells, the winner is no better than the best trial (tests/benchmarks)


def find(case: Case) -> list[Finding]:
    """The most serious first, without what analysis.decision.findings.refusals refuses."""
    winner = (_simulated, texts.warned, _invented, _untested, _interval, _natural_end, score_findings.warned)
    surfaces = (_settings, _misfit, _miscalibrated, _shared_errors, _few, _curve, _coupling)
    trials = (_trainers, _missing, _failed, _unused)
    measured = TriedPoints.of(case.table)
    return [finding for rule in (*winner, *surfaces, *trials) for finding in rule(case, measured)]


def _simulated(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    if made := simulated(case.table):
        yield Finding(code="simulated", message=simulated_losses(made))


def _invented(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    weights = case.goal.loss_weights
    best = agreement.measured(case, weights).min()
    at = [case.winner.almr], [case.winner.lr]
    noise = [share * float(case.surfaces[name].noise(*at)[0]) for name, share in weights.items()]
    sd = float(np.linalg.norm([case.optima.sd.flat[case.optima.mean.argmin()], *noise]))
    gap = best - case.winner.objective
    if gap > max(INVENTED * sd, NOTABLE_NATS):
        why = f"the predicted optimum, {case.winner.objective:.4f} nats, is {gap:.4f} below the best trial, {best:.4f}"
        run = next_trials.around(measured, case.winner.almr, case.winner.lr)
        yield Finding(code="invented", message=f"{why}: run a trial there before using it", next=run)


def _untested(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    almr, lr = case.winner.almr, case.winner.lr
    highest = measured.highest_trained(almr)
    if cautious_edge(case, measured) < SAFE * lr or highest >= SAFE * lr:
        return
    tried = f"no trial{case.near('near', almr)} completed" + (f" above LR {numbers.lr(highest)}" if highest else "")
    why = f"unknown whether training diverges at {SAFE:g} x the winner's LR: {tried}"
    yield Finding(code="untested", message=why, next=next_trials.trials([(almr, SAFE * lr)], measured))


def _interval(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    for name in HYPERPARAMETERS:
        axis, found = getattr(case.optima, name), getattr(case.winner, f"{name}_interval")
        if len(axis) == 1 or not range_edges.known(case) or range_edges.of_optimum(case, name):
            continue
        for edge, reached in zip(
            range_edges.both(case, name), (found.low <= axis[0], found.high >= axis[-1]), strict=True
        ):
            if reached and not edge.natural:
                level = numbers.level(case.winner.level)
                why = f"the {level} interval of {LABELS[name]} reaches {edge.text}: the optimum may lie beyond"
                run = next_trials.beyond(measured, edge, case.winner.almr, case.winner.lr)
                yield Finding(code="interval", message=why, next=run)


def _natural_end(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    edge = range_edges.of_optimum(case, "almr")
    if edge and edge.natural:
        language = language_label(case.study, "original" if edge.upper else "additional")
        why = f"the best ALMR may be {edge.value:g}, training without any {language} text: check objective.weights"
        yield Finding(code="natural_end", message=why)


def _settings(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    """Of a table that was read from a file (analysis.table.beside)."""
    for why in case.table.attrs.get("settings", ()):
        yield Finding(code="settings", message=why)


def _misfit(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    for name, check in case.checks.items():
        typical = _typical_noise(case.surfaces[name])
        if check.rmse > max(MISFIT * typical, NOTABLE_NATS):
            why = (
                f"the {language_label(case.study, name)} surface misses left-out trials by {check.rmse:.3f} nats, "
                f"{numbers.times(check.rmse / typical)} their noise: the trials are too far apart"
            )
            run = next_trials.around(measured, case.winner.almr, case.winner.lr)
            yield Finding(code="misfit", message=why, next=run)


def _typical_noise(surface: Surface) -> float:
    """Typical noise (nats), averaged like the cross-validation RMSE."""
    noise = surface.noise(surface.scale.almr, surface.scale.lr)
    return float(np.mean(noise**-2.0) ** -0.5)


def _miscalibrated(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    trials = len(measured.complete)
    for name, check in case.checks.items():
        inside = round(check.coverage[f"{BAND:g}"] * trials)
        if binom.cdf(inside, trials, BAND) < SIGNIFICANCE:
            share = f"{inside} of {trials} trials are inside their {numbers.percent(BAND)} bands"
            why = f"the {language_label(case.study, name)} intervals are too narrow, {share}: assume wider ones"
            yield Finding(code="calibration", message=why)


def _shared_errors(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    weights = case.goal.loss_weights
    found = agreement.shared_errors(case, weights)
    if found and found.times > MOST_SHARED and found.significance > SURE:
        names = " and ".join(language_label(case.study, name) for name in weights)
        why = (
            f"the errors of the {names} losses go together, and the fit takes them for independent: read the intervals "
            f"of the objective and of the winner as {numbers.times(found.times)} as wide"
        )
        yield Finding(code="calibration", message=why)


def _few(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    trials, enough = len(measured.complete), FEW_ALONE[case.alone.name] if case.alone else FEW_TRIALS
    if trials < enough:
        why = f"{trials} usable trials are few: intervals are reliable from {enough} on"
        run = next_trials.around(measured, case.winner.almr, case.winner.lr)
        yield Finding(code="few", message=why, next=run)


def _curve(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    if case.alone:  # the one point of the curve is the winner
        return
    for edge in range_edges.both(case, "lr"):
        almrs = [point.almr for point in case.curve if point.at_edge and np.isclose(point.lr, edge.value, atol=0)]
        if len(almrs) > MOST_AT_EDGE * len(case.curve):
            span = f"from ALMR {numbers.almr(almrs[0])} to {numbers.almr(almrs[-1])}"
            why = f"{span} the curve is only a bound: the best LR there is {edge.text}"
            run = next_trials.beyond(measured, edge, float(np.median(almrs)), case.winner.lr)
            yield Finding(code="curve", message=why, next=run)


def _coupling(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    if case.region and coupling(case.optima, case.winner.level) is None:
        why = "unknown whether the best LR depends on ALMR: it is inside the tried LRs at too few ALMRs"
        yield Finding(code="coupling", message=why)


def _trainers(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    found = trainers.names(case.table)
    for name, versions in trainers.by_version(case.table).items():
        if len(versions) > 1:
            why = f"{len(versions)} versions of {name} trained these trials ({trainers.listed(versions)})"
            fix = "their losses may differ by more than noise: run the trials of one version again with the other"
            yield Finding(code="versions", message=f"{why}: {fix}")
    if found and (unknown := trainers.counts(case.table).get(("", ""), 0)):
        why = f"the trainer of {_trials(unknown)} is not stated, beside trials of {', '.join(found)}"
        yield Finding(code="trainer", message=f"{why}: a fit takes those of one trainer: fill in the column trainer")


def _missing(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    if case.study is None:
        return
    if case.study.search.proposes:
        yield from _unfinished(case)
        return
    grid = case.study.grid.points
    here = set(zip(case.table["almr"], case.table["lr"], case.table["seed"], strict=True))
    left = [(almr, lr) for almr, lr, seed in grid if (almr, lr, seed) not in here]
    if left:
        why = f"{len(left)} of the grid's {_trials(len(grid))} have no record: run the study again"
        yield Finding(code="missing", message=why, next=_first(case, measured, left))


def _unfinished(case: Case) -> Iterator[Finding]:
    """A search that was interrupted. One with a tolerance may end early, the others only when no cell is left. How many
    trials GPU-hours pay for is not known here.
    """
    assert case.study, "only a study has a search"
    search, named = case.study.search, tables.named_by_user(case.table)
    beside = case.table.loc[named, ["almr", "lr", "seed"]].itertuples(index=False, name=None)
    cells = len({*case.study.grid.points} - {*beside})
    paid = search.trials or (search.tokens or 0) // case.study.trained_tokens
    budget = min(paid, cells) if search.space == "cells" and not search.bounds else paid
    done = int((~named).sum())
    if done < budget and not search.tolerance:
        why = f"the search has run {done} of its {_trials(budget)}: run the study again to continue"
        yield Finding(code="missing", message=why)


def _failed(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    lost = case.table[case.table["status"] == "failed"]
    if len(lost):
        retry = "run the study again to retry them" if case.study else "run them again"
        points = lost[["almr", "lr"]].dropna().to_numpy(float)  # a table's bad rows may lack either
        run = _first(case, measured, [(float(almr), float(lr)) for almr, lr in points])
        yield Finding(code="failed", message=f"{_trials(len(lost))} failed: not in the fit, {retry}", next=run)


def _first(case: Case, measured: TriedPoints, points: list[tuple[float, float]]) -> tuple[NextTrial, ...]:
    return next_trials.nearest(measured, points, case.winner.almr, case.winner.lr)


def _unused(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    table, see = case.table, "see the column `excluded`"
    foreign, lost = table["excluded"].isin(tables.FOREIGN), table.index.isin(tables.diverged(table).index)
    other = table["excluded"].notna() & (table["status"] != "failed") & ~foreign & ~lost
    for code, count, why in (
        ("diverged", int(lost.sum()), "diverged: not fitted, but a bound of the surfaces from below"),
        ("foreign", int(foreign.sum()), f"not used: not of this study, {see}"),
        ("unusable", int(other.sum()), f"not used: {see} for the reason"),
    ):
        if count:
            yield Finding(code=code, message=f"{_trials(count)} {why}")


def _trials(count: int) -> str:
    return f"{count} trial{'s' * (count != 1)}"
