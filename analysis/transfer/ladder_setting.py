"""The launch's setting by rule `ladder`: the fitted lines read off at the launch, and what they assume."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy.stats import norm

from analysis.fit_file.transfer import Exponent, FittedRung
from analysis.fit_file.winner import Interval
from analysis.transfer import ladder
from analysis.transfer.terms import Term, log_factor, log_sd
from sweep.study import InputError, numbers


def ladder_setting(
    gathered: list[FittedRung], target: dict[str, float], level: float, stated: Mapping[str, Term] = {}
) -> dict[str, Any]:
    """A ladder's prediction at `target` {parameters, tokens, batch}: fields of a Transfer.

    `stated`: exponents of quantities that the rungs do not vary. Raises InputError where the target differs from the
    rungs in such a quantity and no exponent of it is stated.
    """
    names = ladder.varied(gathered)
    terms = _stated_terms(gathered, names, target, stated)
    of_lr, of_almr = ladder.line(gathered, "lr"), ladder.line(gathered, "almr")
    log_lr, log_interval = of_lr.predict(of_lr.point(target), level)
    almr, almr_interval = of_almr.predict(of_almr.point(target), level)
    exponents = {name: of_lr.exponent(name, level) for name in names}
    exponents |= {term.name: found for term in terms if (found := term.as_exponent(level))}
    return exponents | {
        "rule": "ladder",
        "source": None,
        "assumption": _assumption(gathered, of_lr, exponents, target),
        "lr": math.exp(log_lr + log_factor(terms)),
        "lr_interval": _widened(log_lr, log_interval, level, terms),
        "almr": float(np.clip(almr, 0, 1)),
        "almr_interval": Interval(
            low=float(np.clip(almr_interval.low, 0, 1)), high=float(np.clip(almr_interval.high, 0, 1))
        ),
        "warnings": list(_warnings(gathered, of_lr, target, almr)),
    }


def _widened(log_lr: float, found: Interval, level: float, terms: list[Term]) -> Interval:
    """The interval of the LR, with the stated terms and their uncertainty."""
    more, by = float(norm.ppf((1 + level) / 2)) * log_sd(terms), log_factor(terms)
    low, high = math.hypot(log_lr - found.low, more), math.hypot(found.high - log_lr, more)
    return Interval(low=math.exp(log_lr + by - low), high=math.exp(log_lr + by + high))


def _stated_terms(
    gathered: list[FittedRung], names: tuple[str, ...], target: dict[str, float], stated: Mapping[str, Term]
) -> list[Term]:
    """The terms of the quantities that no rung varies. Raises InputError as `ladder_setting`."""
    found = []
    for name in ladder.QUANTITIES:
        one = getattr(gathered[0], name)
        ratio = target[name] / one
        if name in names:
            continue
        if name in stated:
            found.append(stated[name]._replace(ratio=ratio))
        elif max(ratio, 1 / ratio) > ladder.FAR_APART:
            raise InputError(
                f"launch.transfer.rungs: all have {one:,} {name}, the launch {target[name]:,.0f}: add a rung of "
                f"another number of {name}, or set {name}_exponent (0: no effect) and its source"
            )
    return found


def _assumption(
    gathered: list[FittedRung], line: ladder.LadderLine, exponents: dict[str, Exponent], target: dict[str, float]
) -> str:
    laws = " and ".join(
        f"{name}^{e.value:.3g}"
        + (f" ({e.interval.low:.3g} to {e.interval.high:.3g})" if e.interval else "")
        + ("" if e.fitted else " (stated, not fitted)")
        for name, e in exponents.items()
    )
    spare = (
        f"{line.spare} spare rungs measure the scatter about the law, which is in the intervals"
        if line.spare
        else "no spare rung measures the scatter about the law, so the intervals are those of the rungs alone"
    )
    at = " and ".join(f"{value:,.0f} {_UNITS[name]}" for name, value in target.items())
    return (
        f"ln LR and ALMR are linear in the logarithms of {' and '.join(line.names)}, fitted from "
        f"{len(gathered)} sweeps and read off at {at}: LR ~ {laws}; {spare}. That the lines extend to the launch is an "
        f"assumption."
    )


_UNITS = {"parameters": "parameters", "tokens": "tokens", "batch": "tokens per batch"}


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
                f"ladder: extrapolated farther than measured: the launch's {name} {'is' if name == 'batch' else 'are'} "
                f"{numbers.times(beyond)} those of the nearest rung, and the rungs span {numbers.times(span)}. Add a "
                f"rung nearer to the launch"
            )
    if not 0 <= almr <= 1:
        yield f"ladder: the predicted ALMR, {almr:.2f}, is outside 0 to 1: set to {np.clip(almr, 0, 1):g}"
