"""The factors of an LR's transfer: powers of the ratios launch / trial, with the uncertainty of their exponents."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from scipy.stats import norm

from analysis.decision.winner import band
from analysis.fit_file.transfer import Exponent
from analysis.fit_file.winner import Interval
from sweep.study import numbers


class Term(NamedTuple):
    """The factor `ratio` ** `exponent`. `ratio`: None where not known. `sd`: of the exponent. `fitted`: from rungs or
    horizons. `known`: False where the rule has no such exponent; 0 with its sd then stands for it.
    """

    name: str
    ratio: float | None
    exponent: float = 0.0
    sd: float = 0.0
    fitted: bool = False
    known: bool = True

    @property
    def distance(self) -> float:
        """The natural logarithm of the ratio; 0 where it is not known."""
        return math.log(self.ratio) if self.ratio else 0.0

    def as_exponent(self, level: float) -> Exponent | None:
        """As `fit.json` has it; None where the rule has none."""
        if not self.known:
            return None
        interval = band(self.exponent, self.sd, level) if self.sd else None
        return Exponent(value=self.exponent, interval=interval, fitted=self.fitted, sd=self.sd)

    @property
    def text(self) -> str:
        """Such as: batch 2 x, exponent 0.5 (sd 0.2)."""
        ratio = "of unknown ratio" if self.ratio is None else numbers.times(self.ratio)
        how = "fitted, " if self.fitted else ""
        exponent = f"exponent {self.exponent:.3g}" if self.known else "no exponent"
        return f"{self.name} {ratio}, {exponent} ({how}sd {self.sd:.2g})"


def log_factor(terms: Iterable[Term]) -> float:
    """The natural logarithm of the product of the factors."""
    return sum(term.exponent * term.distance for term in terms)


def log_sd(terms: Iterable[Term]) -> float:
    """The standard deviation of `log_factor`; the exponents' errors are independent."""
    return math.hypot(*(term.sd * term.distance for term in terms))


def carried(lr: float, interval: Interval, level: float, terms: Iterable[Term]) -> tuple[float, Interval]:
    """The LR times the factors, and its interval: on each side in ln LR, the exponents' sd is added in quadrature."""
    terms = list(terms)
    new, more = lr * math.exp(log_factor(terms)), float(norm.ppf((1 + level) / 2)) * log_sd(terms)
    below = math.hypot(math.log(lr / interval.low), more)
    above = math.hypot(math.log(interval.high / lr), more)
    return new, Interval(low=new * math.exp(-below), high=new * math.exp(above))
