"""Winner -> the large model's setting, by the rule that the study names. What it assumes is written beside it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import norm

from analysis.decision.case import Case
from analysis.fit_file.transfer import Exponent, FittedRung, Transfer
from analysis.fit_file.winner import Interval, Winner
from analysis.transfer import cost, differences, ladder, rungs, sizes
from analysis.transfer.sizes import ScaleStep
from sweep.study.errors import InputError
from sweep.study.sections.transfer import TransferRule
from sweep.study.study import Study

DIRECT = (
    "The large run uses the small model's ALMR and peak LR unchanged (Xi et al., arXiv 2409.06624). That the optimum "
    "carries over from the small model is an assumption: this sweep did not test it."
)
UNNAMED = "launch.transfer is not stated: the rule is direct, the method's own assumption; name it, or power or ladder"
NEAR = 2.0


def direct(winner: Winner, study: Study) -> Transfer:
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
    """The case's winner at its launch, by the rule of its study; `budgets` are the winners at shorter horizons.

    Raises InputError where the rule needs what is not there: a size, or a ladder's runs.
    """
    study = case.study
    assert study is not None
    assert study.launch is not None
    rule = study.launch.transfer or TransferRule(rule="direct")
    step = sizes.step(study, rule)
    if rule.rule == "power":
        moved = power(case.winner, study, rule, step)
    elif rule.rule == "ladder":
        moved = _ladder(case.winner, study, rule, step, budgets)
    else:
        moved = direct(case.winner, study)
    found = cost.edge_after(case, moved.lr, step, rule)
    warnings = [
        *([] if study.launch.transfer else [UNNAMED]),
        *moved.warnings,
        *differences.history(step),
        *differences.repeats(case, moved.almr, step),
        *near_edge(found.factor),
    ]
    told = {"edge": found, "lr_cost": cost.of_lr(case), "warnings": tuple(warnings)}
    return moved.model_copy(update=told | {"size_ratio": step.size_ratio, "token_ratio": step.token_ratio})


def near_edge(factor: float | None) -> list[str]:
    """What to know where the carried edge is within a factor of the launch's LR."""
    if factor is None or factor >= NEAR:
        return []
    return [
        f"carried to the launch's size, the divergence edge is at {factor:.2g} times its LR: under {NEAR:g} is close"
    ]


def power(winner: Winner, study: Study, rule: TransferRule, step: ScaleStep) -> Transfer:
    law, ratio = rule.exponents, step.size_ratio
    assert law is not None
    if ratio is None:
        raise InputError("launch.transfer: rule power needs both sizes: state trial.parameters and launch.parameters")
    logs = math.log(ratio), math.log(step.token_ratio)
    factor = math.exp(law.parameters * logs[0] + law.tokens * logs[1])
    sd = math.hypot(rule.parameters_exponent_sd * logs[0], rule.tokens_exponent_sd * logs[1])
    own = " and the exponents' stated sd" if sd else "; it holds no allowance for the exponents"
    return direct(winner, study).model_copy(
        update={
            "rule": "power",
            "source": law.source,
            "assumption": (
                f"LR x (parameters x {ratio:.4g}) ** {law.parameters:g} x (tokens x {step.token_ratio:.4g}) ** "
                f"{law.tokens:g} = x {factor:.4g}; the ALMR unchanged. Source of the exponents: {law.source}. "
                f"That they hold from this trial to this launch is an assumption. The LR's interval is the "
                f"sweep's own{own}."
            ),
            "lr": winner.lr * factor,
            "lr_interval": _moved(winner, factor, sd),
            "parameters": Exponent(
                value=law.parameters,
                fitted=False,
                interval=_stated(law.parameters, rule.parameters_exponent_sd, winner),
            ),
            "tokens": Exponent(
                value=law.tokens, fitted=False, interval=_stated(law.tokens, rule.tokens_exponent_sd, winner)
            ),
        }
    )


def _stated(value: float, sd: float, winner: Winner) -> Interval | None:
    half = float(norm.ppf((1 + winner.level) / 2)) * sd
    return Interval(low=value - half, high=value + half) if sd else None


def _moved(winner: Winner, factor: float, sd: float) -> Interval:
    """Each side of the LR's interval in ln LR, with the exponents' part added in squares."""
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
        raise InputError("launch.transfer: rule ladder needs both sizes: state trial.parameters and launch.parameters")
    gathered, warnings = rungs.gather(rule.rungs)
    shorter = [(tokens, one) for tokens, one in budgets if tokens != step.trial_tokens]
    gathered += [rungs.of_winner(study.name, w, own, t) for t, w in [*shorter, (step.trial_tokens, winner)]]
    fitted = climbed(gathered, {"parameters": target, "tokens": step.launch_tokens}, winner.level, rule.tokens_exponent)
    told = {"warnings": (*direct(winner, study).warnings, *warnings, *fitted.pop("warnings"))}
    return direct(winner, study).model_copy(update=fitted | told | {"rungs": tuple(gathered)})


def climbed(
    gathered: list[FittedRung], target: dict[str, float], level: float, tokens_exponent: float | None = None
) -> dict[str, Any]:
    """What a ladder says of a target {parameters, tokens}: fields of a Transfer. Raises InputError where it is silent.

    The rungs' number of parameters has to vary wherever the target's differs, and so has their budget, unless
    `tokens_exponent` is stated.
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
        "warnings": [*_few(of_lr), *_far(gathered, target), *_beyond(almr)],
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
            else "state tokens_exponent (0: no effect) and its source, or add a rung of another"
        )
        raise InputError(
            f"launch.transfer.rungs: all have {one:,} {name} and the launch {target[name]:,.0f}: {fix} number of {name}"
        )


def _assumption(
    gathered: list[FittedRung], line: ladder.LadderLine, exponents: dict[str, Exponent], target: dict[str, float]
) -> str:
    laws = " and ".join(
        f"{name} ** {e.value:.3g}"
        + (f" ({e.interval.low:.3g} to {e.interval.high:.3g})" if e.interval else " (stated, not fitted)")
        for name, e in exponents.items()
    )
    spare = (
        f"{line.spare} rungs are left over to tell how far rungs scatter about the law, which is in the intervals"
        if line.spare
        else "no rung is left over to tell how far they scatter about the law: the intervals are the rungs' own alone"
    )
    return (
        f"ln LR and ALMR are linear in the logarithms of {' and '.join(line.names)}, fitted from "
        f"{len(gathered)} sweeps and read off at {target['parameters']:,.0f} parameters and "
        f"{target['tokens']:,.0f} tokens: LR ~ {laws}; {spare}. That the lines go on to the launch is an assumption."
    )


def _few(line: ladder.LadderLine) -> list[str]:
    if line.spare:
        return []
    return ["ladder: as many rungs as the law has coefficients: nothing tests that it is a law; add a rung"]


def _beyond(almr: float) -> list[str]:
    """A line knows no bounds, a share does."""
    if 0 <= almr <= 1:
        return []
    return [f"ladder: its line of ALMR comes to {almr:.3g} at the launch, which is cut to {np.clip(almr, 0, 1):g}"]


def _far(gathered: list[FittedRung], target: dict[str, float]) -> list[str]:
    """Extrapolation further than the rungs themselves span."""
    found = []
    for name in ladder.varied(gathered):
        values = [getattr(rung, name) for rung in gathered]
        span, beyond = max(values) / min(values), max(target[name] / max(values), min(values) / target[name])
        if beyond > span:
            found.append(
                f"ladder: the launch's {name} are {beyond:.3g} x beyond the rungs, which span {span:.3g} x: "
                f"extrapolated further than was measured"
            )
    return found
