"""The loss of one language as a smooth function of (ALMR, LR), with its uncertainty.

Gaussian process regression in the coordinates (f(ALMR), ln LR), each scaled to [-1, 1] over the trials: see
analysis.kernels for the covariance, analysis.hyperparameters for the mixture that a surface is, analysis.bounds for
what diverged trials say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.linalg import cho_solve, cholesky
from sklearn.gaussian_process import GaussianProcessRegressor

from analysis import bounds, hyperparameters
from analysis import table as tables
from analysis.forms import FORMS, LINEAR, Form
from analysis.kernels import Array
from sweep.study import MINIMUM_TRIALS, InputError

NOTHING = np.empty(0)
# Nats of log density: strong evidence (Kass & Raftery 1995). From a dozen trials the best of three forms is luck.
CLEAR = 5.0


class Fitted(Protocol):
    """What plots and the choice of a winner need of a surface, be it one language's or a weighted sum."""

    def predict(self, almr: ArrayLike, lr: ArrayLike) -> tuple[Array, Array]:
        """Mean and standard deviation of the noise-free loss (nats) at n points: two arrays of shape (n,)."""


@dataclass(frozen=True)
class Scale:
    """Trials -> the numbers that the process sees. Arrays are those of the n complete trials; `loss` in nats."""

    almr: Array
    lr: Array
    loss: Array
    form: Form

    def inputs(self, almr: ArrayLike, lr: ArrayLike) -> Array:
        columns = (
            (self.form.of(np.asarray(almr, float)), self.form.of(self.almr)),
            (np.log(np.asarray(lr, float)), np.log(self.lr)),
        )
        return np.stack([_to_unit(values, measured) for values, measured in columns], axis=1)

    @cached_property
    def spread(self) -> float:
        return float(self.loss.std()) or 1.0

    @property
    def targets(self) -> Array:
        return np.asarray((self.loss - self.loss.mean()) / self.spread)

    def variance(self, sd: ArrayLike) -> Array:
        """(n,) of a standard deviation in nats, for each trial or for all."""
        return np.asarray(np.broadcast_to((np.asarray(sd, float) / self.spread) ** 2, self.loss.shape))

    def nats(self, scaled: Array) -> Array:
        return np.asarray(self.loss.mean() + self.spread * scaled)


def _to_unit(values: Array, measured: Array) -> Array:
    low, high = measured.min(), measured.max()
    return np.asarray(2 * (values - low) / (high - low or 1.0) - 1)


@dataclass(frozen=True)
class Surface:
    """A fitted surface: a mixture of processes, `members`, that differ in their hyperparameters, with `weights`."""

    scale: Scale
    members: tuple[GaussianProcessRegressor, ...]
    weights: Array

    @staticmethod
    def fit(
        almr: ArrayLike,
        lr: ArrayLike,
        loss: ArrayLike,
        diverged: tuple[ArrayLike, ArrayLike] = (NOTHING, NOTHING),
        form: Form = LINEAR,
        seed: int = 0,
        stray: ArrayLike = 0.0,
    ) -> Surface:
        """Fit n complete trials, bounded by the m trials that diverged at the (ALMRs, LRs) of `diverged`.

        `stray` (n,): the nats by which a trial may stray from the surface beside its noise. Raises InputError for
        fewer than MINIMUM_TRIALS complete trials.
        """
        scale = _scale(almr, lr, loss, form)
        x, y, extra = scale.inputs(scale.almr, scale.lr), scale.targets, scale.variance(stray)
        process = hyperparameters.most_probable(x, y, extra, seed)
        thetas, weights = hyperparameters.believable(process, seed)
        x, y, alpha = _with_bounds(process, x, y, extra, scale.inputs(*diverged))
        return Surface(scale, tuple(_condition(process, theta, x, y, alpha) for theta in thetas), weights)

    def predict(self, almr: ArrayLike, lr: ArrayLike) -> tuple[Array, Array]:
        x = self.scale.inputs(almr, lr)
        means, deviations = zip(*(member.predict(x, return_std=True) for member in self.members), strict=True)
        variances = np.array(deviations) ** 2 - [member.kernel_.k2.diag(x) for member in self.members]
        return self._mixed(np.array(means), np.clip(variances, 0, None))

    def _mixed(self, means: Array, variances: Array) -> tuple[Array, Array]:
        """Mean and sd in nats of the mixture; both inputs (members, n), scaled."""
        mean = self.weights @ means
        variance = self.weights @ (variances + (means - mean) ** 2)
        return self.scale.nats(mean), self.scale.spread * np.sqrt(variance)

    def noise(self, almr: ArrayLike, lr: ArrayLike) -> Array:
        """Standard deviation in nats of one trial's loss around the surface at n points: (n,)."""
        x = self.scale.inputs(almr, lr)
        return np.asarray(self.scale.spread * np.sqrt(self.weights @ [m.kernel_.k2.diag(x) for m in self.members]))

    def sample(self, almr: ArrayLike, lr: ArrayLike, draws: int, seed: int) -> Array:
        """Joint posterior draws of the noise-free loss (nats) at n points: shape (draws, n)."""
        x, random = self.scale.inputs(almr, lr), np.random.default_rng(seed)
        counts = random.multinomial(draws, self.weights)
        drawn = [_draw(m, x, random.standard_normal((c, len(x)))) for m, c in zip(self.members, counts, strict=True)]
        return self.scale.nats(random.permutation(np.concatenate(drawn)))

    def leave_one_out(self) -> tuple[Array, Array]:
        """Each trial's loss predicted from all others, and that prediction's sd with noise (R&W equations 5.10-5.12).

        Hyperparameters stay those of the full fit. Two arrays of shape (n,), in nats.
        """
        means, variances = zip(*(_left_out(member, len(self.scale.loss)) for member in self.members), strict=True)
        return self._mixed(np.array(means), np.array(variances))


def _scale(almr: ArrayLike, lr: ArrayLike, loss: ArrayLike, form: Form) -> Scale:
    a, r, y = (np.asarray(values, dtype=float) for values in (almr, lr, loss))
    if len(y) < MINIMUM_TRIALS:
        raise InputError(f"{len(y)} usable trials: a surface needs {MINIMUM_TRIALS} or more; run a larger grid")
    return Scale(a, r, y, form)


def _with_bounds(
    process: GaussianProcessRegressor, x: Array, y: Array, extra: Array, diverged: Array
) -> tuple[Array, Array, Array]:
    """Inputs, targets and extra variances (the three of one length) of the trials and of the bounds that matter."""
    alpha = hyperparameters.JITTER + extra
    if not len(diverged):
        return x, y, alpha
    whole = _condition(process, process.kernel_.theta, x, y, alpha)
    mean, covariance = whole.predict(diverged, return_cov=True)
    noise = whole.kernel_.k2.diag(diverged)
    covariance.flat[:: len(mean) + 1] += hyperparameters.JITTER - noise
    value, variance = bounds.as_observations(mean, covariance, bounds.of_neighbours(x, y, diverged), noise)
    matters = np.isfinite(variance)
    added = np.maximum(variance - noise, hyperparameters.JITTER)[matters]  # the kernel adds the noise itself
    return np.concatenate([x, diverged[matters]]), np.concatenate([y, value[matters]]), np.concatenate([alpha, added])


def _condition(
    process: GaussianProcessRegressor, theta: Array, x: Array, y: Array, alpha: Array
) -> GaussianProcessRegressor:
    return GaussianProcessRegressor(process.kernel_.clone_with_theta(theta), alpha=alpha, optimizer=None).fit(x, y)


def _draw(member: GaussianProcessRegressor, x: Array, normal: Array) -> Array:
    if not len(normal):
        return normal
    mean, covariance = member.predict(x, return_cov=True)
    # Enough to factorise, and little enough that no draw is rough near its minimum, which would move it.
    covariance.flat[:: len(mean) + 1] += 1e-9 - member.kernel_.k2.diag(x)
    root = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    return np.asarray(mean + normal @ root.T)


def _left_out(member: GaussianProcessRegressor, trials: int) -> tuple[Array, Array]:
    inverse = cho_solve((member.L_, True), np.eye(len(member.y_train_)))
    variance = 1 / np.diag(inverse)
    mean = member.y_train_ - member.alpha_ * variance
    return mean[:trials], variance[:trials]


@dataclass(frozen=True)
class WeightedSurface:
    """A weighted sum of independent surfaces."""

    parts: tuple[tuple[float, Fitted], ...]

    def predict(self, almr: ArrayLike, lr: ArrayLike) -> tuple[Array, Array]:
        each = [(share, *surface.predict(almr, lr)) for share, surface in self.parts]
        mean = sum(share * m for share, m, _ in each)
        return np.asarray(mean), np.sqrt(sum((share * sd) ** 2 for share, _, sd in each))


def fit_languages(table: pd.DataFrame, languages: tuple[str, ...], seed: int = 0) -> dict[str, Surface]:
    """One surface per language from a table (see analysis.table), each in the form of ALMR that predicts it best.

    Rows that diverged bound the surfaces; other excluded rows are left out.
    """
    used, lost = tables.usable(table), tables.diverged(table)
    ends = lost["almr"].to_numpy(float), lost["lr"].to_numpy(float)
    losses = used[[f"loss_{name}" for name in languages]].to_numpy(float)
    stray = straying(losses.mean(axis=1)) if len(losses) else 0.0
    surfaces = {}
    for name, loss in zip(languages, losses.T, strict=True):
        trials = used["almr"], used["lr"], loss
        surfaces[name] = Surface.fit(*trials, ends, best_form(*trials, seed, stray), seed, stray)
    return surfaces


def straying(loss: Array) -> Array:
    """How far in nats each of n trials may stray from the surface: half of what it is beyond the rest.

    Close to divergence a loss may jump by nats from one LR to the next. No smooth surface follows that without bending
    at its minimum, so a trial above Tukey's fence of all losses (1.5 times the interquartile range over the third
    quartile) says where it is high rather than how high.
    """
    low, high = np.quantile(loss, [0.25, 0.75])
    return np.asarray(np.maximum(loss - (high + 1.5 * (high - low)), 0) / 2)


def best_form(almr: ArrayLike, lr: ArrayLike, loss: ArrayLike, seed: int = 0, stray: ArrayLike = 0.0) -> Form:
    """ALMR itself, unless the leave-one-out log density (R&W equation 5.11) is clearly for another form."""
    if len(np.unique(almr)) < 3:  # any form is a line through two points
        return LINEAR
    suited = [form for form in FORMS if form.suits(np.asarray(almr, float))]
    every = (LINEAR, *suited)
    density = {form.name: _predictive_density(_scale(almr, lr, loss, form), stray, seed) for form in every}
    best = max(suited, key=lambda form: density[form.name], default=LINEAR)
    return best if density[best.name] > density[LINEAR.name] + CLEAR else LINEAR


def _predictive_density(scale: Scale, stray: ArrayLike, seed: int) -> float:
    x, extra = scale.inputs(scale.almr, scale.lr), scale.variance(stray)
    process = hyperparameters.most_probable(x, scale.targets, extra, seed, restarts=0)
    mean, variance = _left_out(process, len(process.y_train_))
    return float(-0.5 * np.sum((process.y_train_ - mean) ** 2 / variance + np.log(variance)))
