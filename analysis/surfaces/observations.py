"""What a surface is conditioned on: its trials, or of many trials the mean of those in each cell.

The cost of a Gaussian process grows with the cube of the number of its observations. Trials of one (ALMR, LR) have
equal covariances and equal noise, so their mean, with its smaller noise, says all that they say together: where many
trials repeat few points nothing is lost. Many trials at more points than MOST are averaged in the bins of a lattice.
Inside a bin the loss is not constant: hence it is the deviation from a first fit that is averaged, at the mean of the
bin's inputs, and what remains is the curvature of that deviation over the width of a bin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve
from sklearn.gaussian_process import GaussianProcessRegressor

from analysis.surfaces import bounds
from analysis.surfaces.kernels import JITTER, Array

MOST = 600  # observations; up to so many trials each is one of its own
BINS = 24  # of each input, where there are more points than MOST
MOST_BOUNDS, BOUND_BINS = (
    144,
    12,
)  # diverged trials that bound a surface: expectation propagation visits each many times


@dataclass(frozen=True)
class Observations:
    """k observations of n trials: inputs `x` (k, 2), scaled losses `y` (k,), and how many trials each is of, `counts`
    (k,). `of` (n,) is the observation of each trial, `own` (n,) the trial's loss as if at its inputs, which is `shift`
    (n,) less than the loss at its own inputs.
    """

    x: Array
    y: Array
    counts: Array
    of: NDArray[np.intp]
    own: Array
    shift: Array

    @classmethod
    def of_trials(cls, first: GaussianProcessRegressor, x: Array, y: Array) -> Self:
        """Of n trials, inputs (n, 2) and scaled losses (n,). `first`: a fit to some of them."""
        if len(y) <= MOST:
            return cls(x, y, np.ones(len(y)), np.arange(len(y)), y, np.zeros(len(y)))
        cells, of = np.unique(x, axis=0, return_inverse=True)
        if len(cells) > MOST:
            _, of = np.unique(_bins(x, BINS), axis=0, return_inverse=True)
        of = of.reshape(-1)  # numpy 2.0 gives it a second axis
        counts = np.bincount(of).astype(float)
        at = np.stack([np.bincount(of, column) / counts for column in x.T], axis=1)
        shift = first.predict(x) - first.predict(at)[of]
        own = y - shift
        return cls(at, np.bincount(of, own) / counts, counts, of, own, shift)

    def left_out(self, process: GaussianProcessRegressor) -> tuple[Array, Array]:
        """Leave-one-out mean and variance of each trial, with its noise: (n,) each (R&W equation 5.12).

        `process`: conditioned on these observations, and on any others behind them. Of an observation of several trials
        the others of them are seen: they are combined with the prediction from all other observations.
        """
        inverse = cho_solve((process.L_, True), np.eye(len(process.y_train_)))
        every = 1 / np.diag(inverse)
        k, of = len(self.y), self.of
        mean, variance = (process.y_train_ - process.alpha_ * every)[:k], every[:k]
        if k == len(of):
            return mean, variance
        noise = (process.kernel_.noise(self.x) + process.alpha[:k]) * self.counts  # of one trial
        without = np.maximum(variance - noise / self.counts, 0)[of]  # of the loss, by the other observations
        others = self.counts[of] - 1
        share = others * without / (others * without + noise[of])
        seen = (self.counts[of] * self.y[of] - self.own) / np.maximum(others, 1)
        return mean[of] + share * (seen - mean[of]) + self.shift, (1 - share) * without + noise[of]


def with_bounds(
    process: GaussianProcessRegressor, seen: Observations, diverged: Array, limits: Array, extra_variance: float
) -> tuple[Array, Array, Array, Array]:
    """Inputs, targets, extra variances and counts of the observations and of the active bounds' pseudo-observations.
    `limits` (m,): the lower bounds of the scaled loss at the `diverged` inputs (m, 2).
    """
    x, y, alpha, counts = seen.x, seen.y, extra_variance / seen.counts, seen.counts
    if not len(diverged):
        return x, y, alpha, counts
    whole = condition(process, process.kernel_.theta, x, y, alpha, counts)
    mean, covariance = whole.predict(diverged, return_cov=True)
    noise = whole.kernel_.noise(diverged)
    covariance.flat[:: len(mean) + 1] += JITTER - noise
    value, variance = bounds.as_observations(mean, covariance, limits, noise)
    active = np.isfinite(variance)
    added = np.maximum(variance - noise, JITTER)[active]  # the kernel adds the noise itself
    more = (diverged[active], value[active], added, np.ones(active.sum()))
    found = (np.concatenate(pair) for pair in zip((x, y, alpha, counts), more, strict=True))
    return tuple(found)  # type: ignore[return-value]


def condition(
    process: GaussianProcessRegressor, theta: Array, x: Array, y: Array, alpha: Array, counts: Array
) -> GaussianProcessRegressor:
    """The process with kernel parameters `theta`, conditioned on x and y with the extra variances `alpha` (n,).

    `counts` (n,): of how many trials each of y is the mean.
    """
    kernel = process.kernel_.clone_with_theta(theta)
    alpha = alpha + kernel.noise(x) * (1 / counts - 1)  # the kernel adds the noise of a single trial
    return GaussianProcessRegressor(kernel, alpha=alpha, optimizer=None).fit(x, y)


def thinned(x: Array) -> Array:
    """The inputs (m, 2) of diverged trials; of many only the lowest LR in each bin, which bounds the most."""
    if len(x) <= MOST_BOUNDS:
        return x
    ordered = x[np.lexsort((x[:, 0], x[:, 1]))]
    _, first = np.unique(_bins(ordered, BOUND_BINS), axis=0, return_index=True)
    return ordered[np.sort(first)]


def _bins(x: Array, number: int) -> NDArray[np.int64]:
    """The bin of each of n inputs in the range of them: (n, 2)."""
    low, high = x.min(axis=0), x.max(axis=0)
    width = np.where(high > low, high - low, 1.0) / number
    return np.asarray(np.minimum((x - low) // width, number - 1), np.int64)
