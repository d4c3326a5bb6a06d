"""The checks of GO.md on the fit and on the step from a trial to the launch.

The bounds are such that a sound sweep keeps them: tests/analysis/launch/test_go_bounds.py fits simulated surfaces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from analysis.fit_file.sources import loss_guard_line
from analysis.launch.evidence.check import GoCheck, State
from analysis.launch.evidence.evidence import Evidence
from analysis.transfer import sizes
from analysis.transfer.bracket import CLOSE
from sweep.study import Study
from sweep.study import numbers as formats
from sweep.study.sections.transfer import Confirmation, TransferRule

SAFE = 2.0  # the divergence LR over the launch's
KNOWN_LR = "LR known to a factor of 2"
WIDE_LR = 4.0  # upper over lower end of the LR's interval: a factor of 2 either way
AGREE = 2.0 * (1 + 1e-9)  # a rule that says exactly twice the LR agrees
WIDE_ALMR = 0.2
BAND, LEAST_INSIDE = "0.9", 0.75
GAIN_AT_RISK = 0.25  # share of the gain over the base model that an LR off by 2 x may cost
NOTABLE = 1.05
HISTORIES_APART = 1.5  # ratio of the pre-training tokens per parameter
GUARD_REFUSALS = {"guard", "unscored"}  # codes of the refusals that say a guard is broken or not tested


def of_fit(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    if made := evidence.simulated:
        yield GoCheck("measured losses", "fail", f"simulated by {made}; no trial was trained")
    codes = _refused(evidence)
    refused = f"refused ({', '.join(sorted(codes))}): launch/README.md has the reasons" if codes else "no refusal"
    yield GoCheck("the fit", "fail" if codes else "pass", refused)
    counts = evidence.quality.trials
    trials = f"{counts.complete} complete, {counts.diverged} diverged, {counts.failed} failed"
    yield GoCheck("the trials", "warn" if counts.failed else "pass", f"{trials}; {counts.excluded} not fitted")
    yield _bands(evidence, study)
    warnings = ", ".join(dict.fromkeys(finding.code for finding in evidence.fit_warnings))
    detail = f"{len(evidence.fit_warnings)} ({warnings}): launch/README.md has them" if warnings else "none"
    yield GoCheck("warnings of the fit", "warn" if warnings else "pass", detail)
    yield from _guards(evidence, study)
    yield _gain(evidence)
    found = evidence.winner.almr_interval
    width = found.high - found.low
    detail = (
        f"{formats.almr(evidence.launch_almr)} ({formats.interval(found, 'almr')}), {formats.number(width, 2)} wide"
    )
    state: State = "not known" if math.isnan(width) else "pass" if width <= WIDE_ALMR else "warn"
    yield GoCheck("the ALMR", state, f"{detail}; bound {WIDE_ALMR:g}")


def _refused(evidence: Evidence) -> set[str]:
    return {finding.code for finding in evidence.accepted_risk.refusals} if evidence.accepted_risk else set()


def _bands(evidence: Evidence, study: Study) -> GoCheck:
    inside = {name: check.coverage.get(BAND) for name, check in evidence.quality.cross_validation.items()}
    known = {name: share for name, share in inside.items() if share is not None}
    shares = ", ".join(f"{study.language_name(name)} {formats.percent(share)}" for name, share in known.items())
    state: State = "not known" if not known else "pass" if min(known.values()) >= LEAST_INSIDE else "fail"
    detail = f"trials inside their 90 % bands when left out: {shares}; bound {formats.percent(LEAST_INSIDE)}"
    return GoCheck("cross-validation", state, detail if known else "none")


def _guards(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    """Where the study sets a guard."""
    if not study.objective.guards and study.objective.forgetting_guard_percent is None:
        return
    broken = ", ".join(sorted(_refused(evidence) & GUARD_REFUSALS))
    limits = [loss_guard_line(guard, study.language_name) for guard in evidence.loss_guards]
    detail = "; ".join([f"refused ({broken})" if broken else "kept", *limits])
    yield GoCheck("the guards", "fail" if broken else "pass", detail)


def _gain(evidence: Evidence) -> GoCheck:
    base, winner = evidence.base_objective, evidence.winner
    if base is None:
        return GoCheck("gain over the base model", "not known", "the base model's losses are not in the records")
    gain = base - winner.objective
    side = "below" if gain > 0 else "above"
    detail = (
        f"objective {formats.number(winner.objective)} at the winner, {formats.number(abs(gain))} nats {side} the base "
        f"model's {formats.number(base)}"
    )
    sure = winner.objective_interval.high < base
    return GoCheck("gain over the base model", "pass" if sure else "warn" if gain > 0 else "fail", detail)


def of_transfer(evidence: Evidence, study: Study) -> Iterator[GoCheck]:
    found = evidence.transfer
    named = study.launch is not None and study.launch.transfer is not None
    unnamed = "direct, by default: state launch.transfer"
    rule = f"{found.rule}: {found.source or 'fitted from its rungs'}" if named else unnamed
    yield GoCheck("transfer rule", "pass" if named else "warn", rule)
    yield _lr(evidence, study)
    yield _edge(evidence)
    yield _cost(evidence, study)
    yield _history(study)


def _lr(evidence: Evidence, study: Study) -> GoCheck:
    """Fails where the sweep does not know its own LR. Else a confirmation decides, or the rules that apply."""
    own, interval = evidence.winner.lr_interval, evidence.launch_lr_interval
    ratio, measured = interval.high / interval.low, evidence.confirmation and evidence.confirmation.after_interval
    detail = f"{formats.lr(evidence.launch_lr)} ({formats.interval(interval, 'lr')}), ends {formats.times(ratio)} apart"
    detail += f"; bound {WIDE_LR:g} x"
    if own.high / own.low > WIDE_LR:
        return GoCheck(KNOWN_LR, "fail", f"{detail}; at the small model {formats.interval(own, 'lr')}: run more trials")
    doubts = [] if measured else [*_apart(evidence), *_unsized(study)]
    if not measured:
        detail += f"; {', '.join(doubts)}" if doubts else "; the rules that apply agree"
    certain = ratio <= WIDE_LR and not doubts
    fix = "" if certain else ": almr confirm RUN measures it"
    return GoCheck(KNOWN_LR, "pass" if certain else "warn", detail + fix)


def _apart(evidence: Evidence) -> list[str]:
    """The rules that apply and whose LR is off the launch's by more than a factor of 2, and what they say."""
    lr = evidence.launch_lr
    return [
        f"rule {rule.rule} says {formats.lr(rule.lr)}"
        for rule in evidence.transfer_rules
        if rule.applies and rule.lr and max(rule.lr / lr, lr / rule.lr) > AGREE
    ]


def _unsized(study: Study) -> list[str]:
    """What the interval lacks where a model's size is not known; nor is a rule by size compared then."""
    rule = study.launch.transfer if study.launch else None
    known = sizes.step(study, rule or TransferRule(rule="direct")).size_ratio
    return [] if known else ["a model's parameters are not known, so what the size does is not in the interval"]


def _edge(evidence: Evidence) -> GoCheck:
    edge, confirmed = evidence.transfer.edge, evidence.confirmation and evidence.confirmation.divergence_lr
    if confirmed:
        return _distance(evidence, confirmed, "lowest LR that diverged at the launch's size", measured=True)
    if edge is None or edge.lr is None:
        return GoCheck("divergence", "not known", "the LR at which training diverges cannot be scaled to the launch")
    what = "LR at which training diverges" if edge.measured else "divergence bound (no trial diverged)"
    return _distance(evidence, edge.lr, f"scaled {what}")


def _distance(evidence: Evidence, bound: float, what: str, measured: bool = False) -> GoCheck:
    """`measured`: at the launch's size, so that the bound itself is too high."""
    factor, lr = bound / evidence.launch_lr, formats.lr(evidence.launch_lr)
    place = f"{formats.times(factor)} below" if factor >= 1 else f"{formats.times(1 / factor)} above"
    detail = f"LR {lr} is {place} the {what}, {formats.lr(bound)}; asked for: {SAFE:g} x below"
    least = CLOSE if measured else 1
    return GoCheck("divergence", "pass" if factor >= SAFE else "warn" if factor >= least else "fail", detail)


def _cost(evidence: Evidence, study: Study) -> GoCheck:
    """What an LR off by 2 x costs, which the step to the launch may well be: beside the gain, not beside zero."""
    name, rule = "sensitivity to the LR", study.launch.transfer if study.launch else None
    found, limit = evidence.transfer.lr_cost, (rule.confirm if rule else Confirmation()).tolerance
    sides = {"half": found.half, "twice": found.double} if found else {}
    known = {side: cost for side, cost in sides.items() if cost is not None}
    if len(known) < 2:
        return GoCheck(name, "not known", "half or twice the LR is outside the tried LRs")
    detail = ", ".join(f"{side} the LR costs {formats.number(cost.nats)}" for side, cost in known.items())
    worst = max(cost.interval.high for cost in known.values())
    gain = None if evidence.base_objective is None else evidence.base_objective - evidence.winner.objective
    if gain is None or gain <= 0:
        return GoCheck(name, "pass" if worst <= limit else "warn", f"{detail} nats; bound {limit:g}")
    bound = max(limit, GAIN_AT_RISK * gain)
    state: State = "pass" if worst <= bound else "warn" if worst < gain else "fail"
    detail += f" nats, at most {formats.percent(worst / gain)} of the gain; bound {formats.percent(bound / gain)}"
    return GoCheck(name, state, detail)


def _history(study: Study) -> GoCheck:
    name = "pre-training tokens per parameter"
    rule = study.launch.transfer if study.launch else None
    step = sizes.step(study, rule or TransferRule(rule="direct"))
    small, large = step.trial.tokens_per_parameter, step.launch.tokens_per_parameter
    if small is None or large is None:
        missing = ", ".join(
            f"launch.transfer.{part}" for part, of in (("trial", small), ("launch", large)) if of is None
        )
        return GoCheck(name, "not known", f"state parameters and pretraining_tokens under {missing}")
    apart = max(small / large, large / small)
    detail = f"trials {formats.tokens(small)}, launch {formats.tokens(large)}: {formats.times(apart)} apart"
    moves = "; this moves the best LR and ALMR, and no rule corrects for it"
    alike = apart < HISTORIES_APART
    return GoCheck(name, "pass" if alike else "warn", detail + ("" if alike else moves))
