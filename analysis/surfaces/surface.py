"""The loss of one language as a smooth function of (ALMR, LR), with its uncertainty.

Gaussian process regression in the coordinates (f(ALMR), ln LR), each scaled to [-1, 1] over the trials. `kernels`
defines the covariance and the mixture over its parameters, `bounds` the bounds from diverged trials.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.linalg import cho_solve, cholesky
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor

from analysis.fit_file.fit_file import CrossValidation
from analysis.fit_file.forms import FORMS, LINEAR
from analysis.surfaces import bounds
from analysis.surfaces.kernels import JITTER, SETTINGS, Array, FitSettings, most_probable, posterior_draws
from analysis.surfaces.scale import Scale
from analysis.table import table as tables

NOTHING = np.empty(0)
# Nats of log density: strong evidence (Kass & Raftery 1995). With a dozen trials the best of three forms is chance.
CLEAR = 5.0
LEVELS = (0.5, 0.8, 0.9)  # of the predictive bands whose coverage is checked


@dataclass(frozen=True)
class Surface:
    """A fitted surface: a mixture of Gaussian processes, `members`, of different kernel parameters, with `weights`."""

    scale: Scale
    members: tuple[GaussianProcessRegressor, ...]
    weights: Array

    @staticmethod
    def fit(
        scale: Scale,
        diverged: tuple[ArrayLike, ArrayLike] = (NOTHING, NOTHING),
        settings: FitSettings = SETTINGS,
        error: float = 0.0,
    ) -> Surface:
        """Fit the n complete trials of `scale`, with lower bounds at m diverged trials, `diverged` = (ALMRs, LRs).

        `error`: the known standard error of each value, in the unit of `scale.loss`, added to the estimated noise.
        """
        x, y = scale.inputs(scale.almr, scale.lr), scale.targets
        extra_variance = JITTER + (error / scale.spread) ** 2
        process = most_probable(x, y, settings, extra_variance)
        thetas, weights = posterior_draws(process, settings.seed)
        x, y, alpha = _with_bounds(process, x, y, scale.inputs(*diverged), extra_variance)
        return Surface(scale, tuple(_condition(process, theta, x, y, alpha) for theta in thetas), weights)

    def conditioned_on_mean(self, almr: ArrayLike, lr: ArrayLike) -> Surface:
        """The surface after trials at m points whose losses equal its mean there: same mean, less uncertainty."""
        added = self.scale.inputs(almr, lr)
        return self if not len(added) else replace(self, members=tuple(_with_mean_at(m, added) for m in self.members))

    def predict(self, almr: ArrayLike, lr: ArrayLike) -> tuple[Array, Array]:
        """Mean and standard deviation of the noise-free loss (nats) at n points: two arrays of shape (n,)."""
        x = self.scale.inputs(almr, lr)
        means, deviations = zip(*(member.predict(x, return_std=True) for member in self.members), strict=True)
        variances = np.array(deviations) ** 2 - [member.kernel_.noise(x) for member in self.members]
        return self._mixed(np.array(means), np.clip(variances, 0, None))

    def _mixed(self, means: Array, variances: Array) -> tuple[Array, Array]:
        """Mean and sd (n,) in nats of the mixture, from the scaled means and variances (members, n) of its members."""
        mean = self.weights @ means
        variance = self.weights @ (variances + (means - mean) ** 2)
        return self.scale.nats(mean), self.scale.nats_of_sd(np.sqrt(variance), mean)

    def noise(self, almr: ArrayLike, lr: ArrayLike) -> Array:
        """Standard deviation in nats of one trial's loss around the surface at n points: (n,)."""
        x = self.scale.inputs(almr, lr)
        mean = self.weights @ [member.predict(x) for member in self.members]
        variance = self.weights @ [member.kernel_.noise(x) for member in self.members]
        return self.scale.nats_of_sd(np.sqrt(variance), mean)

    def sample(self, almr: ArrayLike, lr: ArrayLike, draws: int, seed: int) -> Array:
        """Joint posterior draws of the noise-free loss (nats) at n points: shape (draws, n)."""
        x, random = self.scale.inputs(almr, lr), np.random.default_rng(seed)
        counts = random.multinomial(draws, self.weights)
        drawn = [_draw(m, x, random.standard_normal((c, len(x)))) for m, c in zip(self.members, counts, strict=True)]
        return self.scale.nats(random.permutation(np.concatenate(drawn)))

    def leave_one_out(self) -> tuple[Array, Array]:
        """Leave-one-out predictions of the n trials, and their sd with noise (R&W equation 5.12): two (n,), in nats.

        The kernel parameters stay those of the full fit.
        """
        means, variances = zip(*(_left_out(member, len(self.scale.loss)) for member in self.members), strict=True)
        return self._mixed(np.array(means), np.array(variances))


def _with_bounds(
    process: GaussianProcessRegressor, x: Array, y: Array, diverged: Array, extra_variance: float
) -> tuple[Array, Array, Array]:
    """Inputs, targets and extra variances of the trials and of the active bounds' pseudo-observations."""
    alpha = np.full(len(y), extra_variance)
    if not len(diverged):
        return x, y, alpha
    whole = _condition(process, process.kernel_.theta, x, y, alpha)
    mean, covariance = whole.predict(diverged, return_cov=True)
    noise = whole.kernel_.noise(diverged)
    covariance.flat[:: len(mean) + 1] += JITTER - noise
    value, variance = bounds.as_observations(mean, covariance, bounds.of_neighbours(x, y, diverged), noise)
    active = np.isfinite(variance)
    added = np.maximum(variance - noise, JITTER)[active]  # the kernel adds the noise itself
    return np.concatenate([x, diverged[active]]), np.concatenate([y, value[active]]), np.concatenate([alpha, added])


def _condition(
    process: GaussianProcessRegressor, theta: Array, x: Array, y: Array, alpha: Array
) -> GaussianProcessRegressor:
    """The process with kernel parameters `theta`, conditioned on x and y with the extra variances `alpha` (n,)."""
    return GaussianProcessRegressor(process.kernel_.clone_with_theta(theta), alpha=alpha, optimizer=None).fit(x, y)


def _with_mean_at(member: GaussianProcessRegressor, added: Array) -> GaussianProcessRegressor:
    x, y = np.concatenate([member.X_train_, added]), np.concatenate([member.y_train_, member.predict(added)])
    alpha = np.concatenate([member.alpha, np.full(len(added), JITTER)])
    return _condition(member, member.kernel_.theta, x, y, alpha)


def _draw(member: GaussianProcessRegressor, x: Array, normal: Array) -> Array:
    """Posterior draws (k, n) of the noise-free process, scaled, from standard normals (k, n)."""
    if not len(normal):
        return normal
    mean, covariance = member.predict(x, return_cov=True)
    # The jitter makes the covariance positive definite; more would roughen draws and move their minima.
    covariance.flat[:: len(mean) + 1] += 1e-9 - member.kernel_.noise(x)
    root = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    return np.asarray(mean + normal @ root.T)


def fit_languages(table: pd.DataFrame, languages: tuple[str, ...], seed: int = 0) -> dict[str, Surface]:
    """One surface for each loss, of a language or a source, from a table (see analysis.table), each in the transform of
    ALMR that predicts it best.

    Diverged rows bound the surfaces; other excluded rows are not used. Raises InputError as Scale.of.
    """
    used, lost = tables.usable(table), tables.diverged(table)
    diverged = lost["almr"].to_numpy(float), lost["lr"].to_numpy(float)
    surfaces = {}
    for name in languages:
        trials = used["almr"], used["lr"], used[f"loss_{name}"]
        surfaces[name] = Surface.fit(best_scale(*trials, seed), diverged, FitSettings(seed))
    return surfaces


def best_scale(almr: ArrayLike, lr: ArrayLike, loss: ArrayLike, seed: int = 0) -> Scale:
    """The scale in ALMR itself, unless another transform predicts better by more than CLEAR.

    The criterion is the leave-one-out log predictive density (Rasmussen & Williams 2006, equation 5.11). Losses in
    nats, arrays (n,). Raises InputError as Scale.of.
    """
    linear = Scale.of(almr, lr, loss)
    if len(np.unique(linear.almr)) < 3:  # any form is a line through two points
        return linear
    others = [replace(linear, form=form) for form in FORMS if form != LINEAR and form.suits(linear.almr)]
    better = [_log_density(scale, seed) - CLEAR for scale in others]
    return others[int(np.argmax(better))] if max(better, default=-np.inf) > _log_density(linear, seed) else linear


def _log_density(scale: Scale, seed: int) -> float:
    process = most_probable(scale.inputs(scale.almr, scale.lr), scale.targets, FitSettings(seed, restarts=0))
    mean, variance = _left_out(process, len(process.y_train_))
    return float(-0.5 * np.sum((process.y_train_ - mean) ** 2 / variance + np.log(variance)))


def _left_out(process: GaussianProcessRegressor, trials: int) -> tuple[Array, Array]:
    """Leave-one-out mean and variance (trials,) of the first `trials` targets (R&W equation 5.12)."""
    inverse = cho_solve((process.L_, True), np.eye(len(process.y_train_)))
    variance = 1 / np.diag(inverse)
    mean = process.y_train_ - process.alpha_ * variance
    return mean[:trials], variance[:trials]


def cross_validate(surface: Surface) -> CrossValidation:
    """Leave-one-out errors in nats, and the share of trials inside the predictive band at each of LEVELS."""
    predicted, sd = surface.leave_one_out()
    error = surface.scale.loss - predicted
    noise = surface.noise(surface.scale.almr, surface.scale.lr)
    inside = {f"{level:g}": float((np.abs(error) <= norm.ppf((1 + level) / 2) * sd).mean()) for level in LEVELS}
    return CrossValidation(
        rmse=float(np.sqrt(np.average(error**2, weights=1 / noise**2))),
        plain_rmse=float(np.sqrt(np.mean(error**2))),
        coverage=inside,
    )
