"""Two sizes of model: what each transfer rule says of the larger from the smaller one's winner, and whether it held."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import norm

from analysis.compare.elsewhere import unknown
from analysis.compare.fitted import ComparedFit
from analysis.compare.result import RulePrediction, SizeStep
from analysis.compare.shift import every_difference, two_sided
from analysis.decision.winner import containing, interval
from analysis.fit_file.transfer import FittedRung, Transfer
from analysis.fit_file.winner import Interval
from analysis.surfaces.kernels import Array
from analysis.surfaces.optima import DRAWS
from analysis.transfer.carry import candidates, own_name
from analysis.transfer.cost import selection_regret
from analysis.transfer.ladder import FAR_APART
from analysis.transfer.rules import Sweep, setting
from analysis.transfer.rungs import rung_of
from analysis.transfer.sizes import ScaleStep
from sweep.study import InputError
from sweep.study.sections.transfer import TransferRule

OTHER_TEXT = "their corpora differ too, and no transfer rule says what that does"
NO_ALMR = "the surface of one hyper-parameter alone has no step between sizes"


def step(
    first: ComparedFit, second: ComparedFit, others: Sequence[ComparedFit], marks: dict[str, str], level: float
) -> SizeStep | None:
    """None where the sizes are one, or one is not known. `others`: the remaining runs, from which a ladder takes the
    smaller ones; `marks`: of each run, by its name; `level`: of the intervals.
    """
    smaller, larger = sorted((first, second), key=lambda one: one.model.parameters or 0)
    if not smaller.model.parameters or not larger.model.parameters:
        return None
    factor = larger.model.parameters / smaller.model.parameters
    if factor <= FAR_APART:
        return None
    found = SizeStep(smaller=marks[smaller.name], larger=marks[larger.name], factor=factor)
    if why := _why_not(smaller, larger):
        return found.model_copy(update={"why": why})
    rungs = [_rung(one) for one in others if not _why_not(one, smaller) and _is_smaller(one, smaller)]
    return found.model_copy(update={"rules": tuple(_predictions(smaller, larger, rungs, level))})


def _why_not(one: ComparedFit, other: ComparedFit) -> str:
    if one.study is None or other.study is None or not one.model.parameters:
        return "a table does not state its recipe"
    if one.study.recipe()["corpora"] != other.study.recipe()["corpora"]:
        return OTHER_TEXT
    return NO_ALMR if one.file.alone or other.file.alone else ""


def _is_smaller(one: ComparedFit, than: ComparedFit) -> bool:
    return (one.model.parameters or 0) * FAR_APART < (than.model.parameters or 0)


def _rung(of: ComparedFit) -> FittedRung:
    assert of.study is not None
    training, parameters = of.study.training, of.model.parameters or 0
    rung = rung_of(of.name, of.file.winner, parameters, training.tokens, training.global_batch_tokens)
    return rung.model_copy(update={"peak_lr": of.model.peak_lr})


def _predictions(
    smaller: ComparedFit, larger: ComparedFit, rungs: list[FittedRung], level: float
) -> Iterator[RulePrediction]:
    """By every rule; of a ladder only where there are rungs for it."""
    assert smaller.study is not None
    launch = smaller.study.launch
    own = (launch.transfer if launch else None) or TransferRule(rule="direct")
    scale = _scale(smaller, larger)
    sweep = Sweep(smaller.name, smaller.file.winner, scale, rungs=tuple(rungs))
    for name, rule in candidates(own).items():
        if rule.rule == "ladder" and not rungs:
            continue
        said = RulePrediction(rule=name, chosen=name == own_name(own))
        try:
            found = setting(sweep, rule)
        except InputError as error:
            yield said.model_copy(update={"why": str(error).removeprefix("launch.transfer: ")})
            continue
        fault = rule.horizon_fault(scale.token_ratio, found.tokens is not None)
        found = _at_level(found, smaller.file.winner.level, level)
        yield _tested(said.model_copy(update={"why": fault or ""}), found, larger, level)


def _scale(smaller: ComparedFit, larger: ComparedFit) -> ScaleStep:
    assert smaller.study is not None
    assert larger.study is not None
    small, large = smaller.study.training, larger.study.training
    return ScaleStep(
        trial=smaller.model,
        launch=larger.model,
        trial_tokens=small.tokens,
        launch_tokens=large.tokens,
        trial_batch=small.global_batch_tokens,
        launch_batch=large.global_batch_tokens,
    )


def _at_level(found: Transfer, own: float, level: float) -> Transfer:
    """With its LR's interval, which is at the level of the smaller run, `own`, at `level`."""
    if own == level:
        return found
    wider = float(norm.ppf((1 + level) / 2) / norm.ppf((1 + own) / 2))
    low, high = (found.lr * (end / found.lr) ** wider for end in (found.lr_interval.low, found.lr_interval.high))
    return found.model_copy(update={"lr_interval": Interval(low=low, high=high)})


def _tested(said: RulePrediction, found: Transfer, larger: ComparedFit, level: float) -> RulePrediction:
    """With the ratio of the measured LR to the predicted one, and the cost of the predicted setting."""
    winner = larger.file.winner
    _, measured = larger.optima.drawn_best()
    best, apart = math.log(winner.lr / found.lr), every_difference(_drawn(found, level), np.log(measured))
    around = containing(best, interval(apart, level))
    cost = (
        None if unknown(found.almr, found.lr, larger) else selection_regret(larger.optima, found.almr, found.lr, level)
    )
    return said.model_copy(
        update={
            "lr": found.lr,
            "lr_interval": found.lr_interval,
            "almr": found.almr,
            "ratio": math.exp(best),
            "ratio_interval": Interval(low=math.exp(around.low), high=math.exp(around.high)),
            "p_value": two_sided(apart),
            "held": around.low <= 0 <= around.high,
            "cost": cost,
        }
    )


def _drawn(found: Transfer, level: float) -> Array:
    """ln LR of the prediction at even quantiles (DRAWS,): on each side a half normal with that end of its interval."""
    z = norm.ppf((np.arange(DRAWS) + 0.5) / DRAWS)
    reach = float(norm.ppf((1 + level) / 2))
    below, above = math.log(found.lr / found.lr_interval.low), math.log(found.lr_interval.high / found.lr)
    return np.asarray(math.log(found.lr) + np.where(z < 0, z * below, z * above) / reach)
