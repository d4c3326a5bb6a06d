"""The one format of each quantity in messages, reports and figures. A missing value is a dash, never a 0."""

from __future__ import annotations

import json
import math
from typing import Any, Protocol

MISSING = "–"
NEAREST_ALMR = 1e-6  # to 0 or 1: what is nearer is shown as that end
COUNTS = (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3))
BYTES = (("kB", 1e3, 0), ("MB", 1e6, 1), ("GB", 1e9, 1), ("TB", 1e12, 1))  # with their decimals


class Ends(Protocol):
    """An interval."""

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


def missing(value: Any) -> bool:
    """None, NaN or pandas' NA, which is known by its text: this module is imported where pandas would cost a second."""
    return value is None or str(value) in ("nan", "<NA>", "NaT")


def finite(value: Any) -> Any:
    """The value with None for whatever in it is not finite, since JSON has no NaN."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(content: Any, **options: Any) -> str:
    """JSON that every program reads: null for what is not finite. `options` as of `json.dumps`."""
    return json.dumps(finite(content), allow_nan=False, **options)


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
    decimals = 2 if nearest < NEAREST_ALMR else max(2, -math.floor(math.log10(nearest)))
    whole_part, _, decimal_part = f"{value:.{decimals}f}".partition(".")
    return f"{whole_part}.{decimal_part.rstrip('0'):0<2}"


def lr(value: Any) -> str:
    """At most three significant digits, without trailing zeros: 1e-4, 3.5e-3, 3.19e-3."""
    return MISSING if missing(value) else _scientific(value, 3)


def _scientific(value: float, digits: int) -> str:
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa.rstrip('0').removesuffix('.')}e{int(exponent)}" if exponent else mantissa


def point(almr_value: Any, lr_value: Any) -> str:
    """A point of a grid: ALMR 0.65, LR 3.19e-3."""
    return f"ALMR {almr(almr_value)}, LR {lr(lr_value)}"


def times(ratio: Any) -> str:
    """How many times one quantity is another: 5e-5 x, 0.50 x, 1.3 x, 4 x, 3,470 x."""
    if missing(ratio):
        return MISSING
    rounded = float(f"{ratio:.3g}" if abs(ratio) >= 100 else f"{ratio:.2g}")
    if rounded and not 1e-3 <= abs(rounded) < 1e15:
        return f"{_scientific(ratio, 2)} x"
    digits = max(0, 1 - math.floor(math.log10(abs(rounded)))) if 0 < abs(rounded) < 100 else 0
    return f"{f'{rounded:,.{digits}f}'.removesuffix('.0')} x"


def ratio(value: Any) -> str:
    """How many times one LR is another that is near it: 0.97 x, 1.04 x; farther apart as `times`."""
    return times(value) if missing(value) or not 0.095 <= abs(value) < 9.995 else f"{value:.2f} x"


def count(number_of: int, one: str) -> str:
    """1 trial, 1,200 trials. `one`: the word for one of them."""
    return f"{number_of:,} {one}{'' if number_of == 1 else 's'}"


def tokens(value: Any) -> str:
    """A count: 50k, 1.5B."""
    if missing(value):
        return MISSING
    rounded = float(f"{value:.3g}")
    unit, size = next((count for count in COUNTS if rounded >= count[1]), ("", 1.0))
    number = rounded / size
    return f"{number:,.0f}{unit}" if number >= 1000 else f"{number:.3g}{unit}"


def size(value: Any) -> str:
    """Bytes in decimal units: 250 kB, 47.5 GB."""
    if missing(value):
        return MISSING
    fitting = (unit for unit in BYTES if round(value / unit[1], unit[2]) < 1000)
    name, bytes_per_unit, decimals = next(fitting, BYTES[-1])
    return f"{value / bytes_per_unit:,.{decimals}f} {name}"


def quantity(value: Any) -> str:
    """One decimal; below 1, two significant digits: 1,049.6, 5.0, 0.64, 0.0012, 2.1e-5."""
    if missing(value) or not value:
        return MISSING if missing(value) else "0"
    if abs(value) >= 0.995:
        return f"{value:,.1f}"
    return _scientific(value, 2) if abs(value) < 1e-4 else f"{value:.2g}"


def percent(share: Any, digits: int = 0) -> str:
    return MISSING if missing(share) else f"{100 * share:.{digits}f} %"


def level(share: Any) -> str:
    """The level of an interval, whole: 90 %, 97.5 %, 99.9 %, where `percent` would say 98 % and 100 %."""
    return MISSING if missing(share) else f"{100 * share:.6g} %"


def passes(count: float, text: str) -> str:
    """What is read of a text in so many passes: "it 1.3 x", "3 % of it"."""
    share = percent(count) if count >= 0.005 else "under 1 %"
    return f"{text} {times(count)}" if count > 1 else f"{share} of {text}"


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
