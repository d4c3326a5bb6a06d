"""The one format of each quantity in messages, reports and figures. A missing value is a dash, never a 0."""

from __future__ import annotations

import math
from typing import Any, Protocol

MISSING = "–"


class Ends(Protocol):
    """An interval."""

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


def missing(value: Any) -> bool:
    """None, NaN or pandas' NA, which is known by its text: this module is imported where pandas would cost a second."""
    return value is None or str(value) in ("nan", "<NA>", "NaT")


def number(value: Any, digits: int = 3, sign: bool = False) -> str:
    return MISSING if missing(value) else f"{value:{'+' if sign else ''}.{digits}f}"


def whole(value: Any) -> str:
    """A seed: tables of other origin hold theirs as floats, or none at all."""
    return MISSING if missing(value) else f"{value:.0f}"


def almr(value: Any) -> str:
    """0.65; more decimals only where two would hide the difference from 0 or 1: 0.004, 0.996."""
    if missing(value):
        return MISSING
    nearest = min(abs(value), abs(1 - value))
    decimals = 2 if nearest == 0 else max(2, 1 - math.floor(math.log10(nearest)))
    whole_part, _, decimal_part = f"{value:.{decimals}f}".partition(".")
    return f"{whole_part}.{decimal_part.rstrip('0'):0<2}"


def lr(value: Any) -> str:
    """Three significant digits: 1e-4, 3.19e-3."""
    if missing(value):
        return MISSING
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').removesuffix('.')}e{int(exponent)}"


def point(almr_value: Any, lr_value: Any) -> str:
    """A point of a grid: ALMR 0.65, LR 3.19e-3."""
    return f"ALMR {almr(almr_value)}, LR {lr(lr_value)}"


def times(ratio: Any) -> str:
    """How many times one quantity is another: 1.3 x, 4 x, 3,470 x."""
    if missing(ratio):
        return MISSING
    if not 1e-3 <= abs(ratio) < 1e15:
        return f"{ratio:.2g} x"
    digits = max(0, 1 - math.floor(math.log10(abs(ratio)))) if abs(ratio) < 100 else 0
    rounded = float(f"{ratio:.3g}" if abs(ratio) >= 100 else f"{ratio:.2g}")
    return f"{f'{rounded:,.{digits}f}'.removesuffix('.0')} x"


def tokens(value: Any) -> str:
    """A count: 50k, 1.5B."""
    if missing(value):
        return MISSING
    size, unit = next(((s, u) for s, u in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")) if value >= s), (1, ""))
    return f"{value / size:.3g}{unit}"


def size(value: Any) -> str:
    """Bytes in decimal units: 250 kB, 47.5 GB."""
    if missing(value):
        return MISSING
    for unit, bytes_per_unit in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= bytes_per_unit:
            return f"{value / bytes_per_unit:.1f} {unit}"
    return f"{value / 1e3:.0f} kB"


def percent(share: Any, digits: int = 0) -> str:
    return MISSING if missing(share) else f"{100 * share:.{digits}f} %"


def interval(ends: Ends, kind: str = "number", digits: int = 3) -> str:
    """`kind`: number, lr or almr."""
    write = {"number": lambda value: number(value, digits), "lr": lr, "almr": almr}[kind]
    return f"{write(ends.low)} to {write(ends.high)}"


def clock(seconds: float) -> str:
    """A duration as a person says it: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
