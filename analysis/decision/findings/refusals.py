"""Refusals: reasons not to use a winner, each with the trials that would settle it. A refusal stops the export."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.decision.case import Case
from analysis.decision.curve import SAFE, cautious_edge
from analysis.decision.findings import (
    agreement,
    loss_guards,
    next_trials,
    range_edges,
    repetition,
    score_findings,
    texts,
)
from analysis.decision.findings.range_edges import LABELS, RangeEdge
from analysis.fit_file.findings import Finding, NextTrial
from analysis.fit_file.result import language_label
from analysis.table.table import FOREIGN, HYPERPARAMETERS, TriedPoints, named_by_user
from sweep.study import Study, numbers

LEAST_EXPLAINED = 0.2  # leave-one-out R2: losses shuffled over the trials nearly all stay under it, bowls exceed 0.8
MOST_DISAGREEMENT = 0.5  # of repeats against points: noise alone gives 0.5 and more, bowls less than 0.2
FEWEST_VALUES = 3  # to estimate a curvature
FLAT_REGION = 0.5  # share of the tried range
FLAT_INTERVAL = 0.6  # share of one axis: clean bowls on 4 x 5 points reach 0.4, sparse samples of a real surface 0.55
NARROW = 4.0  # over a factor of 4 in LR losses differ by some 0.02 nats: a flat surface is expected


def find(case: Case) -> list[Finding]:
    """The most serious first: what would ruin the launch, then what leaves the winner unknown."""
    winner = (_unsafe, _contradictory, _few, loss_guards.refused, score_findings.refused, _edges, _flat, _repeats)
    rules = (texts.refused, *winner)
    measured = TriedPoints.of(case.table)
    return [finding for rule in rules for finding in rule(case, measured)]


def _unsafe(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    almr, lr = case.winner.almr, case.winner.lr
    edge = cautious_edge(case, measured)
    if edge >= SAFE * lr:
        return
    top = min(SAFE * lr, measured.lowest_diverged(almr) or np.inf)
    here = case.near("at", almr)
    if top > lr:
        why = f"trials may diverge{here} from LR {numbers.lr(edge)}, {numbers.times(edge / lr)} the winner's"
        run = next_trials.trials([(almr, top), (almr, float(np.sqrt(lr * top))), (almr, lr)], measured)
    else:
        why = f"a trial diverged{here} at LR {numbers.lr(top)}, which is not above the winner's"
        run = next_trials.trials([(almr, top), (almr, top / 2), (almr, top / 4)], measured)
    why += f". A large model diverges at lower LRs: a factor of {SAFE:g} is required"
    message = f"the winner's LR, {numbers.lr(lr)}, is too close to divergence: {why}"
    yield Finding(code="unsafe", message=message, next=run)


def _contradictory(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    disagreeing = list(_disagreeing(case, measured))
    yield from disagreeing
    if not disagreeing and (found := agreement.basins(case.optima)):
        places = [
            f"ALMR {numbers.almr(almr)}, LR {numbers.lr(lr)} ({numbers.percent(share)} of the posterior draws)"
            for (almr, lr), share in zip(found.minima, found.shares, strict=True)
        ]
        why = f"the objective has two minima with a ridge between them, {' and '.join(places)}: run trials near both"
        between = [next_trials.halfway(minimum, found.ridge) for minimum in found.minima]
        run = next_trials.trials([*found.minima, *between, found.ridge], measured)
        yield Finding(code="contradictory", message=why, next=run)


def _disagreeing(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    for weights in agreement.parts(case):
        one = language_label(case.study, next(iter(weights)))
        name = "objective" if len(weights) > 1 else one if one == "loss" else f"{one} loss"
        explained, disagreement = agreement.explained(case, weights), agreement.disagreement(case, weights)
        if explained <= LEAST_EXPLAINED:
            why = f"no surface explains the {name} (leave-one-out R2 {explained:.2f})"
        elif disagreement >= MOST_DISAGREEMENT:
            share = numbers.percent(disagreement)
            why = f"repeats of one point differ in the {name} by {share} of the range over all points"
        else:
            continue
        worst = np.argsort(agreement.left_out_errors(case, weights))[::-1][:4]
        run = next_trials.repeats(measured, measured.complete[worst].tolist())
        advice = "Check that all trials have one recipe and one evaluation, and repeat the worst with another seed"
        yield Finding(code="contradictory", message=f"the trials contradict each other: {why}. {advice}", next=run)


def _few(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    for name, values in zip(HYPERPARAMETERS, measured.complete.T, strict=True):
        distinct = len({f"{value:.6g}" for value in values})
        if distinct < FEWEST_VALUES and not (case.alone and name == case.alone.other):
            count = "one value" if distinct == 1 else "two values"
            why = f"{count} of {LABELS[name]} cannot show a minimum: try {FEWEST_VALUES} or more"
            run = next_trials.third_value(measured, name, case.winner.almr, case.winner.lr)
            yield Finding(code="few", message=why, next=run)


def _edges(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    for name in HYPERPARAMETERS:
        edge = range_edges.of_optimum(case, name)
        if edge is None or edge.natural:
            continue
        at = case.winner.almr, case.winner.lr
        why = f"the best {LABELS[name]} is {edge.text}"
        if name not in case.winner.at_edge:
            share = numbers.percent(case.winner.edge_probability[name])
            side = "above" if edge.upper else "below"
            why = f"the best {LABELS[name]} may be {side} {edge.text} ({share} of the posterior draws are at an edge)"
        own = next_trials.untried(case.study, measured, edge, at)
        run = own or next_trials.beyond(measured, edge, *at)
        done = int((~case.table["excluded"].isin(FOREIGN) & ~named_by_user(case.table)).sum())
        yield Finding(code="edge", message=f"{why}; {_extend(case.study, edge, bool(own), done)}", next=run)


def _extend(study: Study | None, edge: RangeEdge, own: bool, done: int) -> str:
    """How to try values beyond an edge; `own`: cells of the study's grid lie there. `done`: the trials so far."""
    if study is None or not study.search.proposes:
        return "run the grid's own trials beyond it" if own else "run trials beyond it"
    left = (study.search.trials or 0) - done
    more = f"raise search.{study.search.unit}" if left <= 0 else f"run the {left} trials that the search has left"
    if own:
        return f"the search has not tried the grid's cells beyond it: {more}"
    low, high = study.search.reach(study.grid)[edge.name]
    if edge.passed_by(high if edge.upper else low):
        return f"the search may go beyond it, within search.bounds: {more}"
    return f"set search.bounds.{edge.name} beyond it and {more}"


def _flat(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    share = case.region.share if case.region else 0.0
    covered = {name: range_edges.interval_share(case, name) for name in HYPERPARAMETERS}
    wide = [f"{numbers.percent(share)} of the tried range"] if share > FLAT_REGION else []
    flat = [name for name in HYPERPARAMETERS if covered[name] > FLAT_INTERVAL]
    wide += [f"{numbers.percent(covered[name])} of the tried {LABELS[name]}s" for name in flat]
    if not wide or not range_edges.known(case) or agreement.basins(case.optima):
        return
    level = numbers.level(case.winner.level)
    why = f"the optimum is flat: with a probability of {level} it is anywhere in {' and '.join(wide)}"
    if "lr" in flat and measured.lrs[-1] < NARROW * measured.lrs[0]:
        message = f"{why}; the LRs are too close together: try lower and higher ones"
        yield Finding(code="flat", message=message, next=_beyond_both(case, measured))
        return
    again = next_trials.repeats(measured, _corners(case))
    yield Finding(code="flat", message=f"{why}; repeat trials with another seed", next=again)


def _beyond_both(case: Case, measured: TriedPoints) -> tuple[NextTrial, ...]:
    """The three nearest trials beyond each edge of LR."""
    at = case.winner.almr, case.winner.lr
    found = [next_trials.beyond(measured, edge, *at) for edge in range_edges.both(case, "lr")]
    return tuple(trial for trials in found for trial in trials[: next_trials.MOST // 2])


def _corners(case: Case) -> list[tuple[float, float]]:
    """The winner and the corners of the joint region."""
    rows = [case.region.rows[0], case.region.rows[-1]] if case.region else []
    corners = [(row.almr, lr) for row in rows for lr in (row.lr_low, row.lr_high)]
    return [(case.winner.almr, case.winner.lr), *corners]


def _repeats(case: Case, measured: TriedPoints) -> Iterator[Finding]:
    most = case.objective.max_epochs
    for corpus in repetition.of(case.table, case.study):
        epochs = corpus.epochs(case.winner.almr)
        if epochs > most:
            limit = corpus.furthest(most)
            alike = case.study is not None and case.study.training.simulate_epochs
            who, fix = ("a trial, as the launch,", "give the launch more") if alike else ("a trial", "add")
            why = (
                f"at ALMR {numbers.almr(case.winner.almr)} {who} reads the {corpus.label(case.study)} corpus "
                f"{numbers.times(epochs)}, over objective.max_epochs = {most:g}; it stays within that "
                f"{corpus.within(most)}. Else {fix} text, or train on fewer tokens"
            )
            lrs = next_trials.neighbours(measured.lrs, case.winner.lr)
            yield Finding(code="repeats", message=why, next=next_trials.trials([(limit, lr) for lr in lrs], measured))
