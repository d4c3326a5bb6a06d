"""A fit carried to its launch: the setting by the study's rule, and what every other rule says beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from analysis.decision.case import Case
from analysis.fit_file.transfer import Cost, FittedRung, LaunchLoss, RuleEstimate, Transfer
from analysis.fit_file.winner import Winner
from analysis.transfer import cost, differences, ladder, loss_law, rungs, sizes
from analysis.transfer.ladder_setting import ladder_setting
from analysis.transfer.rules import Sweep, near_edge, setting, stated, terms_of
from analysis.transfer.sizes import ScaleStep
from analysis.transfer.terms import log_factor
from sweep.study import InputError, Study
from sweep.study.sections.transfer import LAWS, ModelFacts, TransferRule

UNNAMED = "launch.transfer is not set, so the rule is direct: set launch.transfer.rule"


class Carried(NamedTuple):
    """The launch's setting, or why there is none, and what every rule says."""

    transfer: Transfer | None
    refused: str | None
    rules: tuple[RuleEstimate, ...]


def carry(case: Case, budgets: list[tuple[int, Winner]]) -> Carried:
    """The winner transferred to the study's launch; `budgets` are (tokens, winner) at each token horizon."""
    study = case.study
    assert study is not None
    assert study.launch is not None
    rule = study.launch.transfer or TransferRule(rule="direct")
    sweep = Sweep(study.name, case.winner, sizes.step(study, rule), tuple(budgets))
    try:
        gathered, warnings = rungs.gather(study, rule.rungs)
        sweep = replace(sweep, rungs=tuple(gathered))
        transfer, refused = _transfer(case, study, sweep, rule, warnings), None
    except InputError as error:
        transfer, refused = None, str(error)
    return Carried(transfer, refused, tuple(_estimates(case, sweep, rule)))


def _transfer(case: Case, study: Study, sweep: Sweep, rule: TransferRule, of_rungs: list[str]) -> Transfer:
    """Raises InputError where the rule lacks an input, or has no exponent for a launch of many times the tokens."""
    assert study.launch is not None
    step, found = sweep.step, setting(sweep, rule)
    if fault := rule.horizon_fault(step.token_ratio, found.tokens is not None):
        raise InputError(fault)
    edge = cost.edge_after(case, found.lr, step, rule)
    shrinkage = differences.shrinkage(study, case.winner.lr, found.lr)
    warnings = [
        *([] if study.launch.transfer else [UNNAMED]),
        *differences.lengths(study, study.launch),
        *of_rungs,
        *found.warnings,
        *differences.history(step),
        *differences.repeats(case, found.almr, step),
        *differences.shrunk(shrinkage, study.training.optimizer.weight_decay),
        *near_edge(edge, found.lr),
    ]
    losses, no_losses = _losses(sweep)
    more: dict[str, Any] = {"losses": losses, "no_losses": no_losses}
    more |= {"edge": edge, "lr_cost": cost.of_lr(case), "shrinkage": shrinkage, "warnings": tuple(warnings)}
    ratios = {"size_ratio": step.size_ratio, "token_ratio": step.token_ratio, "batch_ratio": step.batch_ratio}
    return found.model_copy(update=more | ratios)


def _losses(sweep: Sweep) -> tuple[dict[str, LaunchLoss], str | None]:
    """The losses predicted after the launch, or why there are none."""
    own, target = sweep.step.trial.parameters, sweep.step.launch.parameters
    if own is None or target is None:
        return {}, "the loss after the launch is not predicted: a model's size is not known: set its parameters"
    try:
        return loss_law.predict([*sweep.rungs, *sweep.own_rungs(own)], target, sweep.winner.level), None
    except InputError as error:
        return {}, str(error)


def candidates(rule: TransferRule) -> dict[str, TransferRule]:
    """Every rule by name, with the exponents that the study states, and the study's own one."""
    plain = {"law": None, "source": None if rule.law else rule.source}
    named = {
        "direct": rule.model_copy(update=plain | {"rule": "direct"}),
        "relative": rule.model_copy(update=plain | {"rule": "relative"}),
    }
    none = {"rule": "power", "parameters_exponent": None, "tokens_exponent": None, "source": None}
    named |= {f"power, {law}": rule.model_copy(update=none | {"law": law}) for law in LAWS}
    named |= {"ladder": rule.model_copy(update=plain | {"rule": "ladder"})}
    return named | {own_name(rule): rule}


def own_name(rule: TransferRule) -> str:
    """The name of the study's rule among the candidates."""
    return rule.rule if rule.rule != "power" else f"power, {rule.law or 'as stated'}"


def _estimates(case: Case, sweep: Sweep, rule: TransferRule) -> Iterator[RuleEstimate]:
    for name, one in candidates(rule).items():
        base = RuleEstimate(rule=name, chosen=name == own_name(rule), regret=_regret(case, sweep, one))
        try:
            found = setting(sweep, one)
        except InputError as error:
            yield base.model_copy(update={"why": str(error)})
            continue
        fault = one.horizon_fault(sweep.step.token_ratio, found.tokens is not None)
        fields = ("lr", "lr_interval", "almr", "almr_interval")
        values = {field: getattr(found, field) for field in fields}
        yield base.model_copy(update=values | {"applies": fault is None, "why": fault or ""})


def _regret(case: Case, sweep: Sweep, rule: TransferRule) -> Cost | None:
    """What the rule would have lost at this sweep's size, had the sweep not been run; None where no rung is smaller."""
    own = sweep.step.trial.parameters
    if own is None:
        return None
    smaller = [rung for rung in sweep.rungs if rung.parameters * ladder.FAR_APART < own]
    try:
        chosen = predicted(smaller, sweep.own_rungs(own)[-1], rule, sweep.winner.level, sweep.step.trial.peak_lr)
    except (InputError, OverflowError):
        return None
    return cost.selection_regret(case.optima, *chosen, sweep.winner.level) if chosen else None


def predicted(
    smaller: list[FittedRung], target: FittedRung, rule: TransferRule, level: float, peak_lr: float | None = None
) -> tuple[float, float] | None:
    """The ALMR and LR that a rule chooses for `target` from smaller sweeps; None without one. `peak_lr`: the target's.

    Raises InputError as `setting`.
    """
    if not smaller:
        return None
    start = max(smaller, key=lambda rung: (rung.parameters, -abs(math.log(rung.tokens / target.tokens))))
    between = ScaleStep(
        trial=ModelFacts(parameters=start.parameters, peak_lr=start.peak_lr),
        launch=ModelFacts(parameters=target.parameters, peak_lr=peak_lr),
        trial_tokens=start.tokens,
        launch_tokens=target.tokens,
        trial_batch=start.batch,
        launch_batch=target.batch,
    )
    if rule.rule == "ladder":
        at = {name: float(getattr(target, name)) for name in ladder.QUANTITIES}
        fitted = ladder_setting(smaller, at, level, stated(rule, between))
        return fitted["almr"], fitted["lr"]
    return start.almr, start.lr * math.exp(log_factor(terms_of(between, rule)))
