"""Transfer rules: winner -> setting of the launch, by the study's rule, with the rule's assumptions in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.stats import norm

from analysis.decision.case import Case
from analysis.decision.winner import band
from analysis.fit_file.transfer import NEAR_EDGE, EdgeAfter, Exponent, FittedRung, Transfer
from analysis.fit_file.winner import Interval, Winner
from analysis.transfer import cost, differences, ladder, sizes
from analysis.transfer.sizes import ScaleStep
from sweep.study import InputError, Study, numbers
from sweep.study.sections.transfer import TransferRule

DIRECT = (
    "The launch uses the small model's ALMR and peak LR unchanged (Xi et al., arXiv 2409.06624). That the large model "
    "has the same optimum is an assumption, which this sweep did not test."
)
UNNAMED = "launch.transfer is not set, so the rule is direct (ALMR and LR unchanged): set direct, power or ladder"
NEAR = 2.0  # a divergence edge under this many times the launch's LR is close


def direct(winner: Winner, study: Study) -> Transfer:
    """The winner, unchanged."""
    return Transfer(
        rule="direct",
        assumption=DIRECT,
        source="Xi et al., arXiv 2409.06624",
        almr=winner.almr,
        almr_interval=winner.almr_interval,
        lr=winner.lr,
        lr_interval=winner.lr_interval,
        warnings=tuple(differences.lengths(study, study.launch)) if study.launch else (),
    )


def carry(case: Case, budgets: list[tuple[int, Winner]]) -> Transfer:
    """The winner transferred to the study's launch; `budgets` are (tokens, winner) at each token horizon.

    Raises InputError where an input of the rule is missing: a model's size, or a run of a ladder.
    """
    study = case.study
    assert study is not None
    assert study.launch is not None
    rule = study.launch.transfer or TransferRule(rule="direct")
    step = sizes.step(study, rule)
    if rule.rule == "power":
        setting = power(case.winner, study, rule, step)
    elif rule.rule == "ladder":
        setting = _ladder(case.winner, study, rule, step, budgets)
    else:
        setting = direct(case.winner, study)
    edge = cost.edge_after(case, setting.lr, step, rule)
    warnings = [
        *([] if study.launch.transfer else [UNNAMED]),
        *setting.warnings,
        *differences.history(step),
        *differences.repeats(case, setting.almr, step),
        *near_edge(edge, setting.lr),
    ]
    more = {"edge": edge, "lr_cost": cost.of_lr(case), "warnings": tuple(warnings)}
    return setting.model_copy(update=more | {"size_ratio": step.size_ratio, "token_ratio": step.token_ratio})


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


def power(winner: Winner, study: Study, rule: TransferRule, step: ScaleStep) -> Transfer:
    """LR x (ratio of the parameters) ** a x (ratio of the tokens) ** b, with stated exponents; ALMR unchanged."""
    law, ratio = rule.exponents, step.size_ratio
    assert law is not None
    if ratio is None:
        raise InputError("launch.transfer: rule power needs both sizes: set trial.parameters and launch.parameters")
    sds = {"parameters": rule.parameters_exponent_sd, "tokens": rule.tokens_exponent_sd}
    logs = {"parameters": math.log(ratio), "tokens": math.log(step.token_ratio)}
    factor = math.exp(sum(getattr(law, name) * log for name, log in logs.items()))
    sd = math.hypot(*(sds[name] * log for name, log in logs.items()))
    spread = "and the exponents' stated sd" if sd else "without the uncertainty of the exponents"
    return direct(winner, study).model_copy(
        update={
            "rule": "power",
            "source": law.source,
            "assumption": (
                f"The LR is scaled by {factor:.3g}, for {numbers.times(ratio)} the parameters (exponent "
                f"{law.parameters:g}) and {numbers.times(step.token_ratio)} the tokens (exponent {law.tokens:g}). The "
                f"ALMR is unchanged. Source of the exponents: {law.source}. That they hold from this trial to this "
                f"launch is an assumption. The LR's interval is the sweep's own, {spread}."
            ),
            "lr": winner.lr * factor,
            "lr_interval": _moved(winner, factor, sd),
        }
        | {name: _stated(getattr(law, name), sds[name], winner.level) for name in sds}
    )


def _stated(value: float, sd: float, level: float) -> Exponent:
    return Exponent(value=value, fitted=False, interval=band(value, sd, level) if sd else None)


def _moved(winner: Winner, factor: float, sd: float) -> Interval:
    """The LR's interval, scaled; on each side in ln LR, the exponents' uncertainty is added in quadrature."""
    more = float(norm.ppf((1 + winner.level) / 2)) * sd
    below = math.hypot(math.log(winner.lr / winner.lr_interval.low), more)
    above = math.hypot(math.log(winner.lr_interval.high / winner.lr), more)
    lr = winner.lr * factor
    return Interval(low=lr * math.exp(-below), high=lr * math.exp(above))


def _ladder(
    winner: Winner, study: Study, rule: TransferRule, step: ScaleStep, budgets: list[tuple[int, Winner]]
) -> Transfer:
    own, target = step.trial.parameters, step.launch.parameters
    if own is None or target is None:
        raise InputError("launch.transfer: rule ladder needs both sizes: set trial.parameters and launch.parameters")
    gathered, warnings = ladder.gather(rule.rungs)
    shorter = [(tokens, one) for tokens, one in budgets if tokens != step.trial_tokens]
    gathered += [ladder.rung_of(study.name, w, own, t) for t, w in [*shorter, (step.trial_tokens, winner)]]
    fitted = ladder_setting(
        gathered, {"parameters": target, "tokens": step.launch_tokens}, winner.level, rule.tokens_exponent
    )
    unchanged = direct(winner, study)
    found = (*unchanged.warnings, *warnings, *fitted.pop("warnings"))
    return unchanged.model_copy(update=fitted | {"warnings": found, "rungs": tuple(gathered)})


def ladder_setting(
    gathered: list[FittedRung], target: dict[str, float], level: float, tokens_exponent: float | None = None
) -> dict[str, Any]:
    """A ladder's prediction at `target` {parameters, tokens}: fields of a Transfer.

    Raises InputError where all rungs have one number of parameters or of tokens and the target another one; for tokens
    a stated `tokens_exponent` serves instead.
    """
    names = ladder.varied(gathered)
    _refuse_unvaried(gathered, names, target, tokens_exponent)
    of_lr, of_almr = ladder.line(gathered, "lr", tokens_exponent or 0.0), ladder.line(gathered, "almr")
    log_lr, log_interval = of_lr.predict(of_lr.point(target), level)
    stated = 0.0 if "tokens" in names else (tokens_exponent or 0.0) * math.log(target["tokens"])
    almr, almr_interval = of_almr.predict(of_almr.point(target), level)
    exponents: dict[str, Exponent] = {}
    for name in names:
        value, interval = of_lr.slope(name, level)
        exponents[name] = Exponent(value=value, interval=interval, fitted=True)
    if "tokens" not in names and tokens_exponent is not None:
        exponents["tokens"] = Exponent(value=tokens_exponent, interval=None, fitted=False)
    return exponents | {
        "rule": "ladder",
        "source": None,
        "assumption": _assumption(gathered, of_lr, exponents, target),
        "lr": math.exp(log_lr + stated),
        "lr_interval": Interval(low=math.exp(log_interval.low + stated), high=math.exp(log_interval.high + stated)),
        "almr": float(np.clip(almr, 0, 1)),
        "almr_interval": Interval(
            low=float(np.clip(almr_interval.low, 0, 1)), high=float(np.clip(almr_interval.high, 0, 1))
        ),
        "warnings": list(_warnings(gathered, of_lr, target, almr)),
    }


def _refuse_unvaried(
    gathered: list[FittedRung], names: tuple[str, ...], target: dict[str, float], tokens_exponent: float | None
) -> None:
    for name in ("parameters", "tokens"):
        one = getattr(gathered[0], name)
        same = max(one, target[name]) <= ladder.FAR_APART * min(one, target[name])
        if name in names or same or (name == "tokens" and tokens_exponent is not None):
            continue
        fix = (
            "add a rung of another"
            if name == "parameters"
            else "set tokens_exponent (0: no effect) and its source, or add a rung of another"
        )
        raise InputError(
            f"launch.transfer.rungs: all have {one:,} {name}, the launch {target[name]:,.0f}: {fix} number of {name}"
        )


def _assumption(
    gathered: list[FittedRung], line: ladder.LadderLine, exponents: dict[str, Exponent], target: dict[str, float]
) -> str:
    laws = " and ".join(
        f"{name}^{e.value:.3g}"
        + (f" ({e.interval.low:.3g} to {e.interval.high:.3g})" if e.interval else " (stated, not fitted)")
        for name, e in exponents.items()
    )
    spare = (
        f"{line.spare} spare rungs measure the scatter about the law, which is in the intervals"
        if line.spare
        else "no spare rung measures the scatter about the law, so the intervals are those of the rungs alone"
    )
    return (
        f"ln LR and ALMR are linear in the logarithms of {' and '.join(line.names)}, fitted from "
        f"{len(gathered)} sweeps and read off at {target['parameters']:,.0f} parameters and "
        f"{target['tokens']:,.0f} tokens: LR ~ {laws}; {spare}. That the lines extend to the launch is an assumption."
    )


def _warnings(
    gathered: list[FittedRung], line: ladder.LadderLine, target: dict[str, float], almr: float
) -> Iterator[str]:
    """Warnings of an untested law, of an extrapolation farther than the rungs' range, and of an ALMR outside 0 to 1."""
    if not line.spare:
        yield "ladder: the law is not tested, because it has as many coefficients as there are rungs: add a rung"
    for name in line.names:
        values = [getattr(rung, name) for rung in gathered]
        span, beyond = max(values) / min(values), max(target[name] / max(values), min(values) / target[name])
        if beyond > span:
            yield (
                f"ladder: extrapolated farther than measured: the launch's {name} are {numbers.times(beyond)} those of "
                f"the nearest rung, and the rungs span {numbers.times(span)}. Add a rung nearer to the launch"
            )
    if not 0 <= almr <= 1:
        yield f"ladder: the predicted ALMR, {almr:.2f}, is outside 0 to 1: set to {np.clip(almr, 0, 1):g}"
