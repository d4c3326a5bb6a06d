"""The loss of one language as a smooth function of (ALMR, LR), with its uncertainty.

Gaussian process regression in the coordinates (f(ALMR), ln LR), each scaled to [-1, 1] over the trials. Beside this
module, `kernels` has the covariance, `hyperparameters` the mixture of processes that a surface is, and `bounds` what
trials that diverged say.
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

from analysis import table as tables
from analysis.surfaces import bounds, hyperparameters
from analysis.surfaces.forms import FORMS, LINEAR, Form
from analysis.surfaces.kernels import Array
from sweep.study import MINIMUM_TRIALS, InputError

NOTHING = np.empty(0)
WIDTH = 2.0  # of the losses under the knee
LARGEST = 20.0  # in widths over the knee: beyond, a prediction is as good as infinite
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
    def knee(self) -> float:
        """The loss in nats over which differences are compressed: the third quartile."""
        return float(np.quantile(self.loss, 0.75))

    @cached_property
    def _width(self) -> float:
        return WIDTH * (self.knee - float(self.loss.min())) or 1.0

    @cached_property
    def _compressed(self) -> Array:
        return self.compress(self.loss)

    def compress(self, loss: Array) -> Array:
        """Logarithmic over the knee: towards divergence losses rise exponentially and jump, and no smooth surface
        follows that without bending at its minimum. Below the knee, where a choice is made, losses stay as they are.
        """
        over = np.maximum(loss - self.knee, 0)
        return np.asarray(np.minimum(loss, self.knee) + self._width * np.log1p(over / self._width))

    @cached_property
    def spread(self) -> float:
        return float(self._compressed.std()) or 1.0

    @property
    def targets(self) -> Array:
        return np.asarray((self._compressed - self._compressed.mean()) / self.spread)

    def nats(self, scaled: Array) -> Array:
        """The losses that numbers of the process stand for."""
        compressed = self._compressed.mean() + self.spread * scaled
        over = np.maximum(compressed - self.knee, 0) / self._width
        return np.asarray(np.minimum(compressed, self.knee) + self._width * np.expm1(np.minimum(over, LARGEST)))

    def nats_of_sd(self, scaled_sd: Array, scaled: Array) -> Array:
        """Standard deviations in nats of the process's own about its numbers `scaled`."""
        over = (self._compressed.mean() + self.spread * scaled - self.knee) / self._width
        return np.asarray(self.spread * scaled_sd * np.exp(np.clip(over, 0, LARGEST)))


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
    ) -> Surface:
        """Fit n complete trials, bounded by the m trials that diverged at the (ALMRs, LRs) of `diverged`.

        Raises InputError for fewer than MINIMUM_TRIALS complete trials.
        """
        scale = _scale(almr, lr, loss, form)
        x, y = scale.inputs(scale.almr, scale.lr), scale.targets
        process = hyperparameters.most_probable(x, y, seed)
        thetas, weights = hyperparameters.believable(process, seed)
        x, y, alpha = _with_bounds(process, x, y, scale.inputs(*diverged))
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
        return self.scale.nats(mean), self.scale.nats_of_sd(np.sqrt(variance), mean)

    def noise(self, almr: ArrayLike, lr: ArrayLike) -> Array:
        """Standard deviation in nats of one trial's loss around the surface at n points: (n,)."""
        x = self.scale.inputs(almr, lr)
        mean = self.weights @ [member.predict(x) for member in self.members]
        variance = self.weights @ [member.kernel_.k2.diag(x) for member in self.members]
        return self.scale.nats_of_sd(np.sqrt(variance), mean)

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


def _with_bounds(process: GaussianProcessRegressor, x: Array, y: Array, diverged: Array) -> tuple[Array, Array, Array]:
    """Inputs, targets and extra variances (the three of one length) of the trials and of the bounds that matter."""
    alpha = np.full(len(y), hyperparameters.JITTER)
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
    surfaces = {}
    for name in languages:
        trials = used["almr"], used["lr"], used[f"loss_{name}"]
        surfaces[name] = Surface.fit(*trials, ends, best_form(*trials, seed), seed)
    return surfaces


def best_form(almr: ArrayLike, lr: ArrayLike, loss: ArrayLike, seed: int = 0) -> Form:
    """ALMR itself, unless the leave-one-out log density (R&W equation 5.11) is clearly for another form."""
    if len(np.unique(almr)) < 3:  # any form is a line through two points
        return LINEAR
    suited = [form for form in FORMS if form.suits(np.asarray(almr, float))]
    density = {form.name: _predictive_density(_scale(almr, lr, loss, form), seed) for form in (LINEAR, *suited)}
    best = max(suited, key=lambda form: density[form.name], default=LINEAR)
    return best if density[best.name] > density[LINEAR.name] + CLEAR else LINEAR


def _predictive_density(scale: Scale, seed: int) -> float:
    process = hyperparameters.most_probable(scale.inputs(scale.almr, scale.lr), scale.targets, seed, restarts=0)
    mean, variance = _left_out(process, len(process.y_train_))
    return float(-0.5 * np.sum((process.y_train_ - mean) ** 2 / variance + np.log(variance)))
