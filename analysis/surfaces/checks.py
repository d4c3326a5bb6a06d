"""Leave-one-out cross-validation of a surface: its error, and the calibration of its predictive bands."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from analysis.fit_file.fit_file import CrossValidation
from analysis.surfaces.surface import Surface

LEVELS = (0.5, 0.8, 0.9)


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
