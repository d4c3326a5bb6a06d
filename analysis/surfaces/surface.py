"""The loss of one language as a smooth function of (ALMR, LR), with its uncertainty.

Gaussian process regression in the coordinates (f(ALMR), ln LR), each scaled to [-1, 1] over the trials. `kernels`
defines the covariance and the mixture over its parameters, `bounds` the bounds from diverged trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cholesky
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor

from analysis.fit_file.fit_file import CrossValidation
from analysis.fit_file.forms import FORMS, LINEAR
from analysis.surfaces import bounds
from analysis.surfaces.kernels import JITTER, SETTINGS, Array, FitSettings, log_evidence, most_probable, posterior_draws
from analysis.surfaces.observations import Observations, condition, thinned, with_bounds
from analysis.surfaces.scale import Scale
from analysis.table import table as tables

NOTHING = np.empty(0)
ODDS = np.log(1 / 4)  # ln of the odds beforehand: of another form against ALMR itself, of no residual against one
WIDTHS = (np.inf, 2.0)  # of the compression, in ranges of the losses (Scale.range): none, and that of a cliff
# The highest loss over the lowest, in ranges of the losses, over which plain losses are no candidate: a surface of them
# follows a cliff and dips beside it, although its evidence may be the best.
STEEP = 5.0
NEGLIGIBLE = 0.03  # share of the evidence, under which a scale is left out
FEWEST = 4  # draws of the kernel parameters in one scale
GROUP = 30  # draws of one member, of the 500 of a fit
LEVELS = (0.5, 0.8, 0.9)  # of the predictive bands whose coverage is checked


class Member(NamedTuple):
    """A Gaussian process with fixed kernel parameters, of scaled losses, conditioned on `seen`."""

    scale: Scale
    process: GaussianProcessRegressor
    seen: Observations

    def predict(self, almr: ArrayLike, lr: ArrayLike) -> tuple[Array, Array]:
        """Mean and sd of the noise-free loss in nats at n points: two arrays (n,)."""
        x = self.scale.inputs(almr, lr)
        mean, sd = self.process.predict(x, return_std=True)
        return self._nats(mean, np.clip(sd**2 - self.process.kernel_.noise(x), 0, None))

    def noise(self, almr: ArrayLike, lr: ArrayLike) -> Array:
        """Sd of one trial's noise in nats at n points: (n,)."""
        x = self.scale.inputs(almr, lr)
        return self._nats(self.process.predict(x), self.process.kernel_.noise(x))[1]

    def left_out(self) -> tuple[Array, Array]:
        """Leave-one-out mean and sd with noise, in nats of the n trials: two arrays (n,)."""
        return self._nats(*self.seen.left_out(self.process))

    def _nats(self, mean: Array, variance: Array) -> tuple[Array, Array]:
        return self.scale.nats(mean), self.scale.nats_of_sd(np.sqrt(variance), mean)

    def draw(self, almr: ArrayLike, lr: ArrayLike, normal: Array) -> Array:
        """Joint posterior draws (k, n) in nats from standard normals (k, n)."""
        return self.scale.nats(_draw(self.process, self.scale.inputs(almr, lr), normal))


@dataclass(frozen=True)
class Surface:
    """A fitted surface: a mixture of Gaussian processes, `members`, of different scales and kernel parameters, with
    `weights`. `scale` is the most probable one.
    """

    scale: Scale
    members: tuple[Member, ...]
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
        extra_variance = JITTER + (error / scale.spread) ** 2
        process = _most_probable(scale, settings, extra_variance)
        return Surface._of(scale, process, diverged, settings, extra_variance)

    @staticmethod
    def averaged(
        scales: Sequence[Scale],
        diverged: tuple[ArrayLike, ArrayLike] = (NOTHING, NOTHING),
        settings: FitSettings = SETTINGS,
    ) -> Surface:
        """The mixture of fits in these scales of the same losses, with and without a residual, by their evidence."""
        candidates = [(scale, residual) for scale in scales for residual in (True, False)]
        processes = [_most_probable(scale, settings, residual=residual) for scale, residual in candidates]
        evidence = np.array([_log_evidence(scale, p) for (scale, _), p in zip(candidates, processes, strict=True)])
        shares = _shares(evidence)
        fits = [
            Surface._of(scale, process, diverged, settings._replace(members=_power_of_two(share * settings.members)))
            for (scale, _), process, share in zip(candidates, processes, shares, strict=True)
            if share
        ]
        members = tuple(member for fit in fits for member in fit.members)
        kept = shares[shares > 0]
        weights = np.concatenate([share * fit.weights for share, fit in zip(kept, fits, strict=True)])
        return Surface(candidates[int(evidence.argmax())][0], members, weights)

    @staticmethod
    def _of(
        scale: Scale,
        process: GaussianProcessRegressor,
        diverged: tuple[ArrayLike, ArrayLike],
        settings: FitSettings,
        extra_variance: float = JITTER,
    ) -> Surface:
        """The mixture over the kernel parameters about the most probable ones, those of `process`."""
        thetas, weights = posterior_draws(process, settings)
        trials = scale.inputs(scale.almr, scale.lr)
        seen, lost = Observations.of_trials(process, trials, scale.targets), thinned(scale.inputs(*diverged))
        limits = bounds.of_neighbours(trials, scale.targets, lost)
        x, y, alpha, counts = with_bounds(process, seen, lost, limits, extra_variance)
        members = tuple(Member(scale, condition(process, theta, x, y, alpha, counts), seen) for theta in thetas)
        return Surface(scale, members, weights)

    def predict(self, almr: ArrayLike, lr: ArrayLike) -> tuple[Array, Array]:
        """Mean and standard deviation of the noise-free loss (nats) at n points: two arrays of shape (n,)."""
        means, deviations = zip(*(member.predict(almr, lr) for member in self.members), strict=True)
        return self._mixed(np.array(means), np.array(deviations))

    def _mixed(self, means: Array, deviations: Array) -> tuple[Array, Array]:
        """Mean and sd (n,) of the mixture, from those of its members (members, n), in nats."""
        mean = self.weights @ means
        return mean, np.sqrt(self.weights @ (deviations**2 + (means - mean) ** 2))

    def noise(self, almr: ArrayLike, lr: ArrayLike) -> Array:
        """Standard deviation in nats of one trial's loss around the surface at n points: (n,)."""
        noises = np.array([member.noise(almr, lr) for member in self.members])
        return np.asarray(np.sqrt(self.weights @ noises**2))

    def sample(self, almr: ArrayLike, lr: ArrayLike, draws: int, seed: int) -> Array:
        """Joint posterior draws of the noise-free loss (nats) at n points: shape (draws, n)."""
        random, points = np.random.default_rng(seed), np.size(almr)
        counts = _counts(self.weights, draws, random)
        drawn = [
            member.draw(almr, lr, random.standard_normal((count, points)))
            for member, count in zip(self.members, counts, strict=True)
            if count
        ]
        return np.asarray(random.permutation(np.concatenate(drawn)))

    def leave_one_out(self) -> tuple[Array, Array]:
        """Leave-one-out predictions of the n trials, and their sd with noise: two arrays (n,), in nats.

        The kernel parameters and the weights stay those of the full fit.
        """
        means, deviations = zip(*(member.left_out() for member in self.members), strict=True)
        return self._mixed(np.array(means), np.array(deviations))


def _counts(weights: Array, draws: int, random: np.random.Generator) -> NDArray[np.int64]:
    """How many of the draws each member gives: in groups of about GROUP, by systematic resampling of the weights.

    A member costs as much for one draw as for many.
    """
    groups = -(-draws // GROUP)
    places = (np.arange(groups) + random.uniform()) / groups
    sizes = np.full(groups, draws // groups) + (np.arange(groups) < draws % groups)
    members = np.minimum(np.searchsorted(weights.cumsum(), places), len(weights) - 1)
    return np.bincount(members, sizes, len(weights)).astype(np.int64)


def _draw(member: GaussianProcessRegressor, x: Array, normal: Array) -> Array:
    """Posterior draws (k, n) of the noise-free process of scaled losses, from standard normals (k, n)."""
    mean, covariance = member.predict(x, return_cov=True)
    # The jitter makes the covariance positive definite; more would roughen draws and move their minima.
    covariance.flat[:: len(mean) + 1] += 1e-9 - member.kernel_.noise(x)
    root = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    return np.asarray(mean + normal @ root.T)


def fit_languages(table: pd.DataFrame, languages: tuple[str, ...], seed: int = 0) -> dict[str, Surface]:
    """One surface for each loss, of a language or a source, from a table (see analysis.table), averaged over `scales`.

    Diverged rows bound the surfaces; other excluded rows are not used. Raises InputError as Scale.of.
    """
    used, lost = tables.usable(table), tables.diverged(table)
    diverged = lost["almr"].to_numpy(float), lost["lr"].to_numpy(float)
    surfaces = {}
    for name in languages:
        every = scales(used["almr"], used["lr"], used[f"loss_{name}"])
        surfaces[name] = Surface.averaged(every, diverged, FitSettings(seed))
    return surfaces


def scales(almr: ArrayLike, lr: ArrayLike, loss: ArrayLike) -> list[Scale]:
    """Each form of ALMR that suits the trials with each compression. Losses in nats, arrays (n,).

    Raises InputError as Scale.of.
    """
    plain = Scale.of(almr, lr, loss)
    several = len(np.unique(plain.almr)) > 2  # any form is a line through two points
    forms = [form for form in FORMS if form == LINEAR or (several and form.suits(plain.almr))]
    widths = [width for width in WIDTHS if np.isfinite(width) or np.ptp(plain.loss) <= STEEP * plain.range]
    return [replace(plain, form=form, width=width * plain.range) for form in forms for width in widths]


def _most_probable(
    scale: Scale, settings: FitSettings, extra_variance: float = JITTER, residual: bool = True
) -> GaussianProcessRegressor:
    return most_probable(scale.inputs(scale.almr, scale.lr), scale.targets, settings, extra_variance, residual)


def _log_evidence(scale: Scale, process: GaussianProcessRegressor) -> float:
    """ln of the probability density of the losses in nats, whatever the scale, and of the candidate beforehand."""
    density = log_evidence(process) + float(scale.log_slopes(process.y_train_).sum())
    return float(density + ODDS * ((scale.form != LINEAR) + (not process.kernel_.residual)))


def _shares(evidence: Array) -> Array:
    """Weights (n,) that sum to 1; 0 under NEGLIGIBLE."""
    shares = np.exp(evidence - evidence.max())
    shares = np.where(shares < NEGLIGIBLE * shares.sum(), 0.0, shares)
    return np.asarray(shares / shares.sum())


def _power_of_two(number: float) -> int:
    """The least that is no less than `number` and FEWEST."""
    return 1 << math.ceil(math.log2(max(number, FEWEST)))


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
