"""Transfer rules: winner -> setting of the launch, with its interval and the rule's assumptions in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.fit_file.transfer import NEAR_EDGE, EdgeAfter, Exponent, FittedRung, Transfer
from analysis.fit_file.winner import Winner
from analysis.transfer import ladder
from analysis.transfer.ladder_setting import ladder_setting
from analysis.transfer.rungs import rung_of
from analysis.transfer.sizes import ScaleStep
from analysis.transfer.terms import Term, carried, log_factor
from sweep.study import InputError, numbers
from sweep.study.files.reader import LARGEST
from sweep.study.sections.transfer import BATCH_EXPONENT, BATCH_SOURCE, LAWS, TransferRule

XI = "Xi et al., arXiv 2409.06624"
NEAR = 2.0  # a divergence edge under this many times the launch's LR is close


@dataclass(frozen=True)
class Sweep:
    """What the rules carry. `budgets`: the winner at each token budget of the trials, (tokens, winner), the full one
    last; empty where that is the only one. `rungs`: the smaller sweeps.
    """

    name: str
    winner: Winner
    step: ScaleStep
    budgets: tuple[tuple[int, Winner], ...] = ()
    rungs: tuple[FittedRung, ...] = ()

    def own_rungs(self, parameters: int) -> list[FittedRung]:
        """This sweep as a rung at each of its token budgets."""
        step = self.step
        shorter = [(tokens, one) for tokens, one in self.budgets if tokens != step.trial_tokens]
        every = [*shorter, (step.trial_tokens, self.winner)]
        return [rung_of(self.name, one, parameters, tokens, step.trial_batch) for tokens, one in every]

    @property
    def horizon(self) -> Exponent | None:
        """The exponent of tokens, fitted to the trials' own token horizons; None where they have none."""
        own = self.own_rungs(1)  # of one size, whichever it is
        return ladder.line(own, "lr").exponent("tokens", self.winner.level) if ladder.varied(own) else None


def setting(sweep: Sweep, rule: TransferRule) -> Transfer:
    """The launch's setting by a rule, without warnings but those of a ladder.

    Raises InputError where an input of the rule is missing: a size, a peak LR or a rung; and where its LR is no number.
    """
    try:
        found = _ladder(sweep, rule) if rule.rule == "ladder" else _scaled(sweep, rule)
        if found.lr_interval.low >= 1 / LARGEST and found.lr_interval.high <= LARGEST:  # else fit.json is unreadable
            return found
    except OverflowError:
        pass
    raise InputError(
        f"launch.transfer: rule {rule.rule} carries the LR beyond all numbers: check its exponents, and add rungs that "
        f"are farther apart"
    )


def _scaled(sweep: Sweep, rule: TransferRule) -> Transfer:
    """By rule `direct`, `relative` or `power`."""
    terms = terms_of(sweep.step, rule, sweep.horizon)
    winner = sweep.winner
    lr, interval = carried(winner.lr, winner.lr_interval, winner.level, terms)
    exponents = {term.name: term.as_exponent(winner.level) for term in terms if term.name in ladder.QUANTITIES}
    return unchanged(winner).model_copy(
        update=exponents
        | {
            "rule": rule.rule,
            "lr": lr,
            "lr_interval": interval,
            "source": _source(rule),
            "assumption": _assumption(rule, terms),
        }
    )


def unchanged(winner: Winner) -> Transfer:
    """The winner's ALMR and LR as they are."""
    return Transfer(
        rule="direct",
        assumption="The launch uses the small model's ALMR and peak LR unchanged.",
        source=XI,
        almr=winner.almr,
        almr_interval=winner.almr_interval,
        lr=winner.lr,
        lr_interval=winner.lr_interval,
        warnings=(),
    )


def terms_of(step: ScaleStep, rule: TransferRule, horizon: Exponent | None = None) -> list[Term]:
    """The factors of the LR by rule `direct`, `relative` or `power`. `horizon`: the exponent of tokens that was fitted.

    Raises InputError for a missing size or peak LR.
    """
    law = rule.published.at_one_batch(rule.batch_exponent) if rule.published else None
    if law and step.size_ratio is None:
        raise InputError("launch.transfer: rule power needs both sizes: set trial.parameters and launch.parameters")
    size = Term("parameters", step.size_ratio, law.parameters if law else 0.0, rule.parameters_exponent_sd)
    peak = [_peak(step)] if rule.rule == "relative" else []
    return [*peak, size, _tokens(step, rule, horizon), _batch(step, rule)]


def _peak(step: ScaleStep) -> Term:
    missing = [
        f"launch.transfer.{name}.peak_lr"
        for name, model in (("trial", step.trial), ("launch", step.launch))
        if model.peak_lr is None
    ]
    if missing or step.trial.peak_lr is None or step.launch.peak_lr is None:
        raise InputError(
            f"launch.transfer: rule relative needs the peak LR of each model's pre-training: set "
            f"{' and '.join(missing)}"
        )
    return Term("pre-training peak LR", step.launch.peak_lr / step.trial.peak_lr, 1.0)


def _batch(step: ScaleStep, rule: TransferRule) -> Term:
    return Term("batch", step.batch_ratio, rule.batch_exponent, rule.batch_exponent_sd)


def _tokens(step: ScaleStep, rule: TransferRule, horizon: Exponent | None) -> Term:
    """The factor of the training tokens: by the rule's exponent, else by a fitted one."""
    ratio, sd = step.token_ratio, rule.tokens_exponent_sd
    if rule.published:
        return Term("tokens", ratio, rule.published.at_one_batch(rule.batch_exponent).tokens, sd)
    if rule.tokens_exponent is not None:
        return Term("tokens", ratio, rule.tokens_exponent, sd)
    if horizon is None:
        return Term("tokens", ratio, 0.0, sd, known=False)
    return Term("tokens", ratio, horizon.value, horizon.sd, fitted=True)


def _source(rule: TransferRule) -> str:
    first = {"direct": XI, "relative": "each model's own pre-training peak LR"}.get(rule.rule)
    law = rule.published.source if rule.published else None
    return "; ".join(part for part in (first, law or rule.source) if part)


def _assumption(rule: TransferRule, terms: Sequence[Term]) -> str:
    """What the rule does, each factor, and what is assumed."""
    does = {
        "direct": f"The model's size leaves the best ALMR and peak LR unchanged ({XI}), which this sweep did not test.",
        "relative": "The best LR is the same share of each model's own pre-training peak LR.",
        "power": f"The best LR is a power of the model's size. Source of the exponents: {_source(rule)}.",
    }[rule.rule]
    moved = [term for term in terms if term.ratio != 1]
    factors = "; ".join(term.text for term in moved)
    scaled = f"The LR is scaled by {math.exp(log_factor(terms)):.3g}: {factors}." if moved else ""
    batch = "" if terms[-1].ratio == 1 or rule.batch_exponent != BATCH_EXPONENT else f"Of the batch: {BATCH_SOURCE}."
    tokens = f"Of the tokens: {rule.source}." if rule.source and rule.rule != "power" else ""
    presumes = "" if not rule.law else _presumes(rule)
    rest = "The ALMR is unchanged. That all this holds for the launch is an assumption."
    parts = (does, scaled, tokens, batch, presumes, rest)
    return " ".join(part for part in parts if part)


def _presumes(rule: TransferRule) -> str:
    """What a published law presumes of the batch, and how that is corrected."""
    law = LAWS[rule.law] if rule.law else None
    if law is None or not law.batch_tokens:
        return ""
    also = f"parameters^{law.batch_parameters:.3g} x " if law.batch_parameters else ""
    return (
        f"The law presumes a batch that grows with {also}tokens^{law.batch_tokens:.3g}; its exponents are corrected to "
        f"one batch by batch^{rule.batch_exponent:g}, and the launch's own batch counts instead."
    )


def _ladder(sweep: Sweep, rule: TransferRule) -> Transfer:
    step, winner = sweep.step, sweep.winner
    own, target = step.trial.parameters, step.launch.parameters
    if own is None or target is None:
        raise InputError("launch.transfer: rule ladder needs both sizes: set trial.parameters and launch.parameters")
    gathered = [*sweep.rungs, *sweep.own_rungs(own)]
    if not ladder.varied(gathered):
        raise InputError("launch.transfer: rule ladder needs rungs or training.horizons: name runs of smaller sweeps")
    at: dict[str, float] = {"parameters": target, "tokens": step.launch_tokens, "batch": step.launch_batch}
    fitted = ladder_setting(gathered, at, winner.level, stated(rule, step))
    return unchanged(winner).model_copy(
        update=fitted | {"warnings": tuple(fitted["warnings"]), "rungs": tuple(gathered)}
    )


def stated(rule: TransferRule, step: ScaleStep) -> dict[str, Term]:
    """The exponents of what the rungs may not vary. One of tokens is missing where it is needed but not stated."""
    found = {"batch": _batch(step, rule)}
    if rule.parameters_exponent is not None:
        sd = rule.parameters_exponent_sd
        found["parameters"] = Term("parameters", None, rule.parameters_exponent, sd)
    if rule.tokens_exponent is not None or not rule.horizon_fault(step.token_ratio):
        exponent, known = rule.tokens_exponent or 0.0, rule.tokens_exponent is not None
        found["tokens"] = Term("tokens", None, exponent, rule.tokens_exponent_sd, known=known)
    return found


def near_edge(edge: EdgeAfter | None, lr: float) -> list[str]:
    """A warning where the launch's LR, `lr`, is over the scaled divergence edge or closer to it than NEAR."""
    factor = edge.over(lr) if edge else None
    if edge is None or factor is None or factor >= NEAR:
        return []
    bound = "" if edge.measured else " (a lower bound: no trial diverged)"
    return [
        f"{NEAR_EDGE} the launch's LR, {numbers.lr(lr)}, is {numbers.times(1 / factor)} the estimated "
        f"divergence LR at its size, {numbers.lr(edge.lr)}{bound}. Run the confirmation runs before the launch"
    ]
