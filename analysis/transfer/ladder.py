"""A dial's best value over a ladder of sweeps, linear in ln parameters and ln tokens, and its prediction interval.

Each rung's best value is known to its own sd; beyond that, rungs scatter about the line with an sd `tau` that is not
known. Its posterior is taken on a grid, under a half-normal prior and a flat one on the line, and the prediction is the
mixture over it: so it widens with the distance from the rungs, and with how badly they follow a line. Where no rung is
left over to tell tau, it is taken as 0: the interval is then that of the rungs' own alone, which is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from analysis.fit_file.transfer import FittedRung
from analysis.fit_file.winner import Interval
from analysis.surfaces.kernels import Array
from sweep.study.errors import InputError

PRIOR = {"lr": 0.25, "almr": 0.1}  # of tau: in ln LR and in ALMR; seeds alone move a best LR by about 0.1
GRID = 60
LEAST = {"lr": 0.02, "almr": 0.005}  # sd of a rung: an interval that says less is a rounding, not knowledge
FAR_APART = 1.05  # two sizes or budgets closer than this are one


@dataclass(frozen=True)
class LadderLine:
    """`x` (n, p) is 1 and the centred logarithms that the rungs vary, `names` those; `y` and `sd` (n,) the dial."""

    x: Array
    y: Array
    sd: Array
    names: tuple[str, ...]
    centre: Array
    prior: float

    @property
    def spare(self) -> int:
        """Rungs over what the line needs."""
        return int(len(self.y) - self.x.shape[1])

    def at(self, tau: float) -> tuple[Array, Array]:
        """Coefficients (p,) and their covariance (p, p) where rungs scatter by `tau`."""
        weights = 1 / (self.sd**2 + tau**2)
        covariance = np.asarray(np.linalg.inv((self.x.T * weights) @ self.x), np.float64)
        return covariance @ (self.x.T * weights) @ self.y, covariance

    def scatter(self) -> tuple[Array, Array]:
        """Values of tau and the posterior probability of each."""
        if not self.spare:
            return np.zeros(1), np.ones(1)
        taus = np.linspace(0, 4 * self.prior, GRID)
        logs = np.array([self._log_posterior(tau) for tau in taus])
        probability = np.exp(logs - logs.max())
        return taus, np.asarray(probability / probability.sum(), float)

    def _log_posterior(self, tau: float) -> float:
        coefficients, covariance = self.at(tau)
        variance = self.sd**2 + tau**2
        misfit = ((self.y - self.x @ coefficients) ** 2 / variance).sum()
        determinant = float(np.linalg.slogdet(covariance)[1])
        return float((determinant - np.log(variance).sum() - misfit) / 2 - (tau / self.prior) ** 2 / 2)

    def predict(self, point: Array, level: float) -> tuple[float, Interval]:
        """The dial at `point` (p,), as a row of `x`, of a model of its own: tau is in the interval."""
        return self._mixed(point, level, own=True)

    def slope(self, name: str, level: float) -> tuple[float, Interval]:
        point = np.array([0.0, *(float(n == name) for n in self.names)])
        return self._mixed(point, level, own=False)

    def _mixed(self, point: Array, level: float, own: bool) -> tuple[float, Interval]:
        taus, probability = self.scatter()
        fits = [self.at(tau) for tau in taus]
        means = np.array([point @ c for c, _ in fits])
        sds = np.sqrt([point @ v @ point + own * tau**2 for (_, v), tau in zip(fits, taus, strict=True)])
        ends = [_quantile(means, sds, probability, q) for q in ((1 - level) / 2, (1 + level) / 2)]
        return float(probability @ means), Interval(low=ends[0], high=ends[1])

    def point(self, values: dict[str, float]) -> Array:
        """The row of `x` at these parameters and tokens."""
        return np.array([1.0, *(np.log(values[n]) - c for n, c in zip(self.names, self.centre, strict=True))])


def _quantile(means: Array, sds: Array, probability: Array, share: float) -> float:
    low, high = (means - 12 * sds).min(), (means + 12 * sds).max()
    return float(brentq(lambda value: probability @ norm.cdf((value - means) / sds) - share, low, high))


def varied(rungs: Sequence[FittedRung]) -> tuple[str, ...]:
    """Which of parameters and tokens the rungs vary."""
    found = []
    for name in ("parameters", "tokens"):
        values = [getattr(rung, name) for rung in rungs]
        if max(values) > FAR_APART * min(values):
            found.append(name)
    return tuple(found)


def line(rungs: Sequence[FittedRung], dial: str, tokens_exponent: float = 0.0) -> LadderLine:
    """The line of ln LR, or of ALMR. Rungs of one budget take `tokens_exponent` for LR. Raises InputError for rungs
    that do not tell one."""
    names = varied(rungs)
    logs = np.log(np.array([[getattr(rung, name) for name in names] for rung in rungs], float))
    x = np.concatenate([np.ones((len(rungs), 1)), logs - logs.mean(axis=0)], axis=1)
    if not names or np.linalg.matrix_rank(x) < x.shape[1]:
        what = " and ".join(names) or "parameters and tokens"
        raise InputError(
            f"launch.transfer.rungs: {len(rungs)} sweeps, this one counted, do not tell the effect of {what}: add "
            f"sweeps of other sizes or budgets"
        )
    y = np.array([np.log(rung.lr) if dial == "lr" else rung.almr for rung in rungs])
    if dial == "lr" and "tokens" not in names:
        y = y - tokens_exponent * np.log([rung.tokens for rung in rungs])
    sd = np.maximum([getattr(rung, f"{dial}_sd") for rung in rungs], LEAST[dial])
    return LadderLine(x, y, np.asarray(sd), names, logs.mean(axis=0), PRIOR[dial])
