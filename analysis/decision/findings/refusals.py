"""When a winner must not be used, and which trials would settle it. A refusal stops the export."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.decision.case import Case
from analysis.decision.findings import agreement, basins, ends, next_trials, repetition, safety, score_findings
from analysis.decision.findings.ends import DIALS, NAMES
from analysis.decision.objectives import GuardedGoal
from analysis.fit_file.findings import Finding, NextTrial
from analysis.table.tried_points import TriedPoints
from sweep.study.study import Study

EXPLAINED = 0.2  # R2 of trials left out: nearly all losses dealt out at random stay under it, bowls are over 0.8
DISAGREEMENT = 0.5  # repeats against points: noise alone gives 0.5 and more, bowls less than 0.2
FEWEST_VALUES = 3  # a curvature takes three
FLAT = 0.5  # of the measured range: beyond, more of it may be the best than may not
FLAT_DIAL = 0.6  # of one dial's: clean bowls on 4 x 5 points reach 0.4, sparse samples of a measured surface 0.55
NARROW = 4.0  # over such a factor in LR the losses differ by some 0.02 nats: no wonder that it looks flat


def find(case: Case) -> list[Finding]:
    """The gravest first: what would waste the launch, then what leaves the winner unknown."""
    rules = (_unsafe, _contradictory, _few, _guard, score_findings.refused, _edges, _flat, _repeats)
    measured = TriedPoints.of(case.table)
    return [finding for rule in rules for finding in rule(case, measured)]


def _unsafe(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    almr, lr = case.winner.almr, case.winner.lr
    edge = safety.edge(case, measured)
    if edge >= safety.SAFE * lr:
        return
    top = min(safety.SAFE * lr, measured.lowest_diverged(almr) or np.inf)
    if top > lr:
        why = f"at ALMR {almr:.3g} trials may diverge from LR {edge:.3g} on, {edge / lr:.2g} times the winner's"
        run = next_trials.trials([(almr, top), (almr, float(np.sqrt(lr * top))), (almr, lr)], measured)
    else:
        why = f"near ALMR {almr:.3g} a trial diverged at LR {top:.3g}, which is not above the winner's {lr:.3g}"
        run = next_trials.trials([(almr, top), (almr, top / 2), (almr, top / 4)], measured)
    advice = f"a large model diverges earlier, keep a factor of {safety.SAFE:g}"
    yield Finding(code="unsafe", message=f"{why}: {advice}", next=run)


def _contradictory(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    disagreeing = list(_disagreeing(case, measured))
    yield from disagreeing
    if not disagreeing and (found := basins.find(case.optima)):
        places = (f"ALMR {a:.3g} LR {r:.3g} ({p:.0%})" for (a, r), p in zip(found.minima, found.shares, strict=True))
        why = f"two minima that a ridge parts are both believable, {' and '.join(places)}: measure both more closely"
        between = [next_trials.halfway(minimum, found.ridge) for minimum in found.minima]
        run = next_trials.trials([*found.minima, *between, found.ridge], measured)
        yield Finding(code="contradictory", message=why, next=run)


def _disagreeing(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    for weights in agreement.parts(case):
        name = "objective" if len(weights) > 1 else f"{next(iter(weights))} loss"
        if agreement.explained(case, weights) <= EXPLAINED:
            why = f"no surface explains the {name}: trials left out are predicted no better than by their mean"
        elif (share := agreement.disagreement(case, weights)) >= DISAGREEMENT:
            why = f"repeats of one point differ in the {name} by {share:.0%} of what the points differ by"
        else:
            continue
        oddest = np.argsort(agreement.left_out_errors(case, weights))[::-1][:4]
        run = next_trials.again(measured, measured.complete[oddest].tolist())
        advice = "check that all trials share one recipe and one evaluation, and run the oddest with another seed"
        yield Finding(code="contradictory", message=f"{why}: {advice}", next=run)


def _few(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    for dial, values in zip(DIALS, measured.complete.T, strict=True):
        distinct = len({f"{value:.6g}" for value in values})
        if distinct < FEWEST_VALUES:
            count = "one value" if distinct == 1 else "two values"
            why = f"{count} of {NAMES[dial]} cannot show a minimum: measure {FEWEST_VALUES} or more"
            run = next_trials.inside(measured, dial, case.winner.almr, case.winner.lr)
            yield Finding(code="few", message=why, next=run)


def _guard(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    if not isinstance(case.goal, GuardedGoal):
        return
    kept = float(case.goal.probability(case.lattice).flat[case.optima.mean.argmin()])
    if kept < case.goal.level:
        almr, lr = case.winner.almr, case.winner.lr
        why = (
            f"nowhere is the original loss at most {case.goal.bound:.4g} nats with a probability of "
            f"{case.goal.level:.0%}; at the safest point, ALMR {almr:.3g} LR {lr:.3g}, it is {kept:.0%}"
        )
        yield Finding(code="guard", message=why, next=next_trials.gentler(measured, almr, lr))


def _edges(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    for dial in DIALS:
        end = ends.of_optimum(case, dial)
        if end is None or end.natural:
            continue
        at = case.winner.almr, case.winner.lr
        why = f"the best {NAMES[dial]} is {end.words}"
        if dial not in case.winner.at_edge:
            share = case.winner.edge_probability[dial]
            why = f"the best {NAMES[dial]} may well be {end.words}: it is on an end in {share:.0%} of the draws"
        own = next_trials.waiting(case.study, measured, end, *at)
        run = own or next_trials.beyond(measured, end, *at)
        yield Finding(code="edge", message=f"{why}; {_past(case.study, end, bool(own))}", next=run)


def _past(study: Study | None, end: ends.End, own: bool) -> str:
    """What is past an end, `own` if cells of the study's grid are, and for a search how it gets there."""
    if study is None or not study.search.proposes:
        return "the grid's own trials past it have no outcome yet" if own else "the optimum may lie beyond"
    if own:
        return "the search has not tried the grid's cells past it: raise search.trials"
    low, high = study.search.reach(study.grid)[end.dial]
    if end.passed_by(high if end.upper else low):
        return "the optimum may lie beyond, within search.bounds: raise search.trials"
    return f"the optimum may lie beyond: set search.bounds.{end.dial} past it and raise search.trials"


def _flat(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    share = case.region.share if case.region else 0.0
    covered = {dial: ends.interval_share(case, dial) for dial in DIALS}
    wide = [f"{share:.0%} of the measured range"] if share > FLAT else []
    wide += [f"{covered[dial]:.0%} of the measured {NAMES[dial]}s" for dial in DIALS if covered[dial] > FLAT_DIAL]
    if not wide or not ends.known(case) or basins.find(case.optima):
        return
    why = f"the optimum is flat: with a probability of {case.winner.level:.0%} it is anywhere in {' and '.join(wide)}"
    if covered["lr"] > FLAT_DIAL and measured.lrs[-1] < NARROW * measured.lrs[0]:
        yield Finding(code="flat", message=f"{why}; the LRs are too close together", next=_past_both(case, measured))
        return
    again = next_trials.again(measured, _corners(case))
    yield Finding(code="flat", message=f"{why}; run these with another seed to tell slope from noise", next=again)


def _past_both(case: Case, measured: TriedPoints) -> tuple[NextTrial, ...]:
    """Of each end the three nearest."""
    at = case.winner.almr, case.winner.lr
    found = [next_trials.beyond(measured, end, *at) for end in ends.both(case, "lr")]
    return tuple(trial for trials in found for trial in trials[: next_trials.MOST // 2])


def _corners(case: Case) -> list[tuple[float, float]]:
    """The winner, and the corners of the region in which the optimum may lie."""
    rows = [case.region.rows[0], case.region.rows[-1]] if case.region else []
    corners = [(row.almr, lr) for row in rows for lr in (row.lr_low, row.lr_high)]
    return [(case.winner.almr, case.winner.lr), *corners]


def _repeats(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    most = case.objective.max_epochs
    for corpus in repetition.of(case.table):
        epochs = corpus.epochs(case.winner.almr)
        if epochs > most:
            limit = corpus.furthest(most)
            why = (
                f"at ALMR {case.winner.almr:.3g} a trial reads the {corpus.language} corpus {epochs:.3g} times, more "
                f"than objective.max_epochs = {most:g}: it stays within that {corpus.within(most)}; add text, or train "
                f"on fewer tokens"
            )
            lrs = next_trials.neighbours(measured.lrs, case.winner.lr)
            yield Finding(code="repeats", message=why, next=next_trials.trials([(limit, lr) for lr in lrs], measured))
