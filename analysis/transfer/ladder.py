"""Prediction of a best LR or ALMR from a ladder of sweeps: linear in ln parameters, ln tokens and ln batch.

A random-effects regression: each rung's best value has its own sd, and rungs scatter about the line with an unknown sd
`tau`. The posterior of tau is computed on a grid, under a half-normal prior on tau and a flat prior on the line. The
prediction is the mixture over it, so its interval widens with the distance from the rungs and with their scatter.
Without a spare rung tau is 0, and the interval is that of the rungs alone, as the transfer's assumption then says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from analysis.fit_file.transfer import Exponent, FittedRung
from analysis.fit_file.winner import Interval
from analysis.surfaces.kernels import Array
from sweep.study import InputError

PRIOR = {"lr": 0.25, "almr": 0.1}  # scale of tau, in ln LR and in ALMR; seeds alone move a best LR by about 0.1
GRID = 60
LEAST = {"lr": 0.02, "almr": 0.005}  # sd of a rung: a narrower interval is an artefact of rounding
FAR_APART = 1.05  # two sizes, budgets or batches closer than this are one
QUANTITIES = ("parameters", "tokens", "batch")


@dataclass(frozen=True)
class LadderLine:
    """The regression of n rungs: `x` (n, p) has 1 and the centred logarithms of `names`, `y` and `sd` (n,) the values.

    `centre` (p - 1,) was subtracted from the logarithms, `prior` is the scale of tau.
    """

    x: Array
    y: Array
    sd: Array
    names: tuple[str, ...]
    centre: Array
    prior: float

    @property
    def spare(self) -> int:
        """Rungs beyond the number of coefficients."""
        return int(len(self.y) - self.x.shape[1])

    def at(self, tau: float) -> tuple[Array, Array]:
        """Weighted least-squares coefficients (p,) and their covariance (p, p), given `tau`."""
        weights = 1 / (self.sd**2 + tau**2)
        covariance = np.asarray(np.linalg.inv((self.x.T * weights) @ self.x), np.float64)
        return covariance @ (self.x.T * weights) @ self.y, covariance

    def scatter(self) -> tuple[Array, Array]:
        """Values of tau (GRID,) and their posterior probabilities."""
        if not self.spare:
            return np.zeros(1), np.ones(1)
        taus = np.linspace(0, 4 * self.prior, GRID)
        logs = np.array([self.log_posterior(tau) for tau in taus])
        probability = np.exp(logs - logs.max())
        return taus, np.asarray(probability / probability.sum(), float)

    def log_posterior(self, tau: float) -> float:
        """Log posterior of tau up to a constant."""
        coefficients, covariance = self.at(tau)
        variance = self.sd**2 + tau**2
        misfit = ((self.y - self.x @ coefficients) ** 2 / variance).sum()
        determinant = float(np.linalg.slogdet(covariance)[1])
        return float((determinant - np.log(variance).sum() - misfit) / 2 - (tau / self.prior) ** 2 / 2)

    def predict(self, point: Array, level: float) -> tuple[float, Interval]:
        """The value at `point` (p,), a row of `x`, and its prediction interval for a new sweep, which includes tau."""
        return self._mixed(point, level, scatter=1.0)

    def exponent(self, name: str, level: float) -> Exponent:
        """The coefficient of the logarithm of one of `names`."""
        point = np.array([0.0, *(float(n == name) for n in self.names)])
        value, interval = self._mixed(point, level, scatter=0.0)
        sd = (interval.high - interval.low) / (2 * float(norm.ppf((1 + level) / 2)))
        return Exponent(value=value, interval=interval, fitted=True, sd=sd)

    def _mixed(self, point: Array, level: float, scatter: float) -> tuple[float, Interval]:
        taus, probability = self.scatter()
        fits = [self.at(tau) for tau in taus]
        means = np.array([point @ c for c, _ in fits])
        sds = np.sqrt([point @ v @ point + scatter * tau**2 for (_, v), tau in zip(fits, taus, strict=True)])
        low, high = (quantile(means, sds, probability, q) for q in ((1 - level) / 2, (1 + level) / 2))
        return float(probability @ means), Interval(low=low, high=high)

    def point(self, values: dict[str, float]) -> Array:
        """The row of `x` at these parameters, tokens and batch."""
        return np.array([1.0, *(np.log(values[n]) - c for n, c in zip(self.names, self.centre, strict=True))])


def quantile(means: Array, sds: Array, probability: Array, share: float) -> float:
    """Quantile of a mixture of normals."""
    low, high = (means - 12 * sds).min(), (means + 12 * sds).max()
    return float(brentq(lambda value: probability @ norm.cdf((value - means) / sds) - share, low, high))


def varied(rungs: Sequence[FittedRung]) -> tuple[str, ...]:
    """Which of QUANTITIES differ between the rungs."""
    found = []
    for name in QUANTITIES:
        values = [getattr(rung, name) for rung in rungs]
        if max(values) > FAR_APART * min(values):
            found.append(name)
    return tuple(found)


def line(rungs: Sequence[FittedRung], name: str) -> LadderLine:
    """The regression of ln LR (`name` "lr") or of ALMR ("almr") on what differs between the rungs.

    Raises InputError where the rungs do not determine it.
    """
    names = varied(rungs)
    logs = np.log(np.array([[getattr(rung, n) for n in names] for rung in rungs], float))
    x = np.concatenate([np.ones((len(rungs), 1)), logs - logs.mean(axis=0)], axis=1)
    if not names or np.linalg.matrix_rank(x) < x.shape[1]:
        what = " and ".join(names) or "parameters, tokens or batch"
        raise InputError(
            f"launch.transfer.rungs: {len(rungs)} sweeps, this one included, do not determine the effect of {what}: "
            f"add sweeps of other sizes, budgets or batches"
        )
    y = np.array([np.log(rung.lr) if name == "lr" else rung.almr for rung in rungs])
    sd = np.maximum([getattr(rung, f"{name}_sd") for rung in rungs], LEAST[name])
    return LadderLine(x, y, np.asarray(sd), names, logs.mean(axis=0), PRIOR[name])
