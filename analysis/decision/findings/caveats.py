"""What qualifies a winner that may be used: warnings, which travel with it, in sentences that say what to do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import binom

from analysis.decision.case import Case
from analysis.decision.curve import coupling
from analysis.decision.findings import agreement, ends, next_trials, safety, score_findings
from analysis.decision.findings.ends import DIALS, NAMES
from analysis.fit_file.findings import Finding, NextTrial
from analysis.surfaces.surface import Surface
from analysis.table import table as tables
from analysis.table.tried_points import TriedPoints

NOTABLE_NATS = 0.02  # twice what a factor of 2 in LR costs: less moves no choice
INVENTED = 3.0  # standard deviations under the best trial
MISFIT = 3.0  # leave-one-out error over noise: where trials are dense enough it stays under 2
BAND, ACCIDENT = 0.9, 0.01  # so few trials inside their bands as happen by accident with this probability
AT_EDGE = 0.1  # of the curve's ALMRs: fewer are its very tips
FEW_TRIALS = 16  # from a dozen random cells the chosen one was no better than the best measured (tests/benchmarks)


def find(case: Case) -> list[Finding]:
    """The gravest first. What is a refusal (see analysis.decision.findings.refusals) is not said again."""
    winner = (_invented, _untested, _interval, _natural_end, score_findings.warned)
    surfaces = (_misfit, _miscalibrated, _few, _curve, _coupling)
    trials = (_missing, _failed, _diverged, _foreign, _unusable)
    measured = TriedPoints.of(case.table)
    return [finding for rule in (*winner, *surfaces, *trials) for finding in rule(case, measured)]


def _invented(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    weights = agreement.minimised(case)
    best = agreement.measured(case, weights).min()
    at = [case.winner.almr], [case.winner.lr]
    noise = [share * float(case.surfaces[name].noise(*at)[0]) for name, share in weights.items()]
    sd = float(np.linalg.norm([case.optima.sd.flat[case.optima.mean.argmin()], *noise]))
    gap = best - case.winner.objective
    if gap > max(INVENTED * sd, NOTABLE_NATS):
        why = f"the predicted objective {case.winner.objective:.4f} is {gap:.4f} nats below the best trial's {best:.4f}"
        run = next_trials.around(measured, case.winner.almr, case.winner.lr)
        yield Finding(code="invented", message=f"{why}: measure it before believing it", next=run)


def _untested(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    almr, lr = case.winner.almr, case.winner.lr
    highest = measured.highest_trained(almr)
    if safety.edge(case, measured) < safety.SAFE * lr or highest >= safety.SAFE * lr:
        return
    why = (
        f"near ALMR {almr:.3g} no LR above {highest:.3g} was trained: that {safety.SAFE:g} times the winner's LR does "
        f"not diverge was not tested"
    )
    yield Finding(code="untested", message=why, next=next_trials.trials([(almr, safety.SAFE * lr)], measured))


def _interval(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    for dial in DIALS:
        axis, found = getattr(case.optima, dial), getattr(case.winner, f"{dial}_interval")
        if len(axis) == 1 or not ends.known(case) or ends.of_optimum(case, dial):
            continue
        for end, reached in zip(ends.both(case, dial), (found.low <= axis[0], found.high >= axis[-1]), strict=True):
            if reached and not end.natural:
                why = f"the {case.winner.level:.0%} interval of {NAMES[dial]} reaches {end.words}: it may go on beyond"
                run = next_trials.beyond(measured, end, case.winner.almr, case.winner.lr)
                yield Finding(code="interval", message=why, next=run)


def _natural_end(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    end = ends.of_optimum(case, "almr")
    if end and end.natural:
        without = "any of the original language's text" if end.upper else "any of the additional language's text"
        why = f"the best ALMR is or may be {end.value:g}, training without {without}: check the objective's weights"
        yield Finding(code="natural_end", message=why)


def _misfit(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    for name, check in case.checks.items():
        typical = _typical_noise(case.surfaces[name])
        if check.rmse > max(MISFIT * typical, NOTABLE_NATS):
            why = (
                f"{name}: trials are predicted from the others with an error of {check.rmse:.4f} nats, "
                f"{check.rmse / typical:.1f} times their noise: they are too far apart for this surface"
            )
            run = next_trials.around(measured, case.winner.almr, case.winner.lr)
            yield Finding(code="misfit", message=why, next=run)


def _typical_noise(surface: Surface) -> float:
    """Noise (nats) in the mean that the checks' rmse is: a trial counts by its precision."""
    noise = surface.noise(surface.scale.almr, surface.scale.lr)
    return float(np.mean(noise**-2.0) ** -0.5)


def _miscalibrated(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    trials = len(measured.complete)
    for name, check in case.checks.items():
        inside = round(check.coverage[f"{BAND:g}"] * trials)
        if binom.cdf(inside, trials, BAND) < ACCIDENT:
            why = f"{name}: {inside} of {trials} trials lie inside their {BAND:.0%} bands: take every interval as wider"
            yield Finding(code="calibration", message=why)


def _few(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    trials = len(measured.complete)
    if trials < FEW_TRIALS:
        why = f"{trials} usable trials are few for a surface in two dials: trust intervals from {FEW_TRIALS} on"
        run = next_trials.around(measured, case.winner.almr, case.winner.lr)
        yield Finding(code="few", message=why, next=run)


def _curve(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    for end in ends.both(case, "lr"):
        pinned = [point.almr for point in case.curve if point.at_edge and np.isclose(point.lr, end.value, atol=0)]
        if len(pinned) > AT_EDGE * len(case.curve):
            why = f"from ALMR {pinned[0]:.3g} to {pinned[-1]:.3g} the best LR is {end.words}: there it is only a bound"
            run = next_trials.beyond(measured, end, float(np.median(pinned)), case.winner.lr)
            yield Finding(code="curve", message=why, next=run)


def _coupling(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    if case.region and coupling(case.optima, case.winner.level) is None:
        why = "whether the best LR moves with ALMR is not known: it is inside the measured LRs at too few ALMRs"
        yield Finding(code="coupling", message=why)


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
        why = f"{len(left)} of the grid's {_trials(len(grid))} have no record yet: run the study again"
        yield Finding(code="missing", message=why, next=_first(case, measured, left))


def _unfinished(case: Case) -> Iterator[Finding]:
    """Of a search without a tolerance, which may end early of itself only when it is out of cells."""
    assert case.study, "a table of the user's own has no search"
    search, cells = case.study.search, len(case.study.grid.points)
    budget = min(search.trials or 0, cells) if search.space == "cells" and not search.bounds else search.trials or 0
    done = len(case.table)
    if done < budget and not search.tolerance:
        why = f"the search has run {done} of its {_trials(budget)}: run the study again to have it go on"
        yield Finding(code="missing", message=why)


def _failed(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    lost = case.table[case.table["status"] == "failed"]
    if len(lost):
        retry = "run the study again to retry" if case.study else "run them again"
        points = lost[["almr", "lr"]].dropna().to_numpy(float)  # a table's bad rows may lack either
        run = _first(case, measured, [(float(almr), float(lr)) for almr, lr in points])
        yield Finding(code="failed", message=f"{_trials(len(lost))} failed, missing from the fit: {retry}", next=run)


def _first(case: Case, measured: TriedPoints, points: list[tuple[float, float]]) -> tuple[NextTrial, ...]:
    return next_trials.nearest(measured, points, case.winner.almr, case.winner.lr)


def _diverged(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    if count := len(measured.diverged):
        why = f"{_trials(count)} diverged: no loss to fit, but the surfaces are kept from being low there"
        yield Finding(code="diverged", message=why)


def _foreign(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    if count := int(case.table["excluded"].isin(tables.FOREIGN).sum()):
        why = f"{_trials(count)} left out that the study does not ask for: see `excluded` in the table"
        yield Finding(code="foreign", message=why)


def _unusable(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    rows = case.table[case.table["excluded"].notna() & (case.table["status"] != "failed")]
    rows = rows[~rows["excluded"].isin(tables.FOREIGN) & ~rows.index.isin(tables.diverged(case.table).index)]
    if len(rows):
        why = f"{_trials(len(rows))} left out for want of usable numbers: see `excluded` in the table"
        yield Finding(code="unusable", message=why)


def _trials(count: int) -> str:
    return f"{count} trial{'s' * (count != 1)}"
