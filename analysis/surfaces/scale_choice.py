"""The choice of ALMR's transform by leave-one-out log predictive density (Rasmussen & Williams 2006, equation 5.11)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_solve
from sklearn.gaussian_process import GaussianProcessRegressor

from analysis.fit_file.forms import FORMS, LINEAR
from analysis.surfaces.kernel_parameters import FitSettings, most_probable
from analysis.surfaces.kernels import Array
from analysis.surfaces.scale import Scale

# Nats of log density: strong evidence (Kass & Raftery 1995). With a dozen trials the best of three forms is chance.
CLEAR = 5.0


def best_scale(almr: ArrayLike, lr: ArrayLike, loss: ArrayLike, seed: int = 0) -> Scale:
    """The scale in ALMR itself, unless another transform predicts better by more than CLEAR.

    Losses in nats, arrays (n,). Raises InputError as Scale.of.
    """
    linear = Scale.of(almr, lr, loss)
    if len(np.unique(linear.almr)) < 3:  # any form is a line through two points
        return linear
    others = [replace(linear, form=form) for form in FORMS if form != LINEAR and form.suits(linear.almr)]
    better = [_log_density(scale, seed) - CLEAR for scale in others]
    return others[int(np.argmax(better))] if max(better, default=-np.inf) > _log_density(linear, seed) else linear


def _log_density(scale: Scale, seed: int) -> float:
    process = most_probable(scale.inputs(scale.almr, scale.lr), scale.targets, FitSettings(seed, restarts=0))
    mean, variance = left_out(process, len(process.y_train_))
    return float(-0.5 * np.sum((process.y_train_ - mean) ** 2 / variance + np.log(variance)))


def left_out(process: GaussianProcessRegressor, trials: int) -> tuple[Array, Array]:
    """Leave-one-out mean and variance (trials,) of the first `trials` targets (R&W equation 5.12)."""
    inverse = cho_solve((process.L_, True), np.eye(len(process.y_train_)))
    variance = 1 / np.diag(inverse)
    mean = process.y_train_ - process.alpha_ * variance
    return mean[:trials], variance[:trials]
