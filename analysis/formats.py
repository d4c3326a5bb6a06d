"""Numbers as people read them, in figures and reports. What was not measured is a dash, never a 0."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from analysis.decision.winner import Interval

MISSING = "–"


def missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def number(value: Any, digits: int = 3, sign: bool = False) -> str:
    return MISSING if missing(value) else f"{value:{'+' if sign else ''}.{digits}f}"


def whole(value: Any) -> str:
    """A seed: tables of other origin hold theirs as floats, or none at all."""
    return MISSING if missing(value) else f"{value:.0f}"


def almr(value: Any) -> str:
    return MISSING if missing(value) else f"{value:.3g}"


def lr(value: Any) -> str:
    """1e-4, 3.2e-5."""
    if missing(value):
        return MISSING
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def tokens(value: Any) -> str:
    """A count: 50k, 1.5B."""
    if missing(value):
        return MISSING
    size, unit = next(((s, u) for s, u in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")) if value >= s), (1, ""))
    return f"{value / size:.3g}{unit}"


def percent(share: Any, digits: int = 0) -> str:
    return MISSING if missing(share) else f"{100 * share:.{digits}f} %"


def interval(ends: Interval, kind: str = "number", digits: int = 3) -> str:
    """`kind`: number, lr or almr."""
    write = {"number": lambda value: number(value, digits), "lr": lr, "almr": almr}[kind]
    return f"{write(ends.low)} to {write(ends.high)}"
