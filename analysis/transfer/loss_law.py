"""The launch's held-out losses: a floor and a power of the parameters, fitted to the best losses of a ladder's sizes.

loss(N) = floor + c x N ** -alpha, the form of Hoffmann et al., arXiv 2203.15556, equation 2, at one token budget. For a
given alpha it is linear in the loss at the largest size and in the drop from the smallest to it, which have flat
priors. alpha is log-uniform over ALPHAS, and sizes scatter about the law by an unknown sd, as in a ladder's line. The
prediction is the mixture over both, so it widens with the distance and where three sizes leave alpha open.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.fit_file.transfer import FittedRung, LaunchLoss
from analysis.fit_file.winner import Interval
from analysis.surfaces.kernels import Array
from analysis.transfer.ladder import FAR_APART, LadderLine, quantile
from sweep.study import LANGUAGES, InputError

LEAST_SIZES = 3
ALPHAS = np.geomspace(0.05, 1.0, 24)  # published: 0.08 (Kaplan et al., 2001.08361), 0.34 (Hoffmann et al.)
PRIOR = 0.02  # scale of the sizes' scatter about the law, in nats
SCATTERS = 16  # points of the scatter's posterior
LEAST_SD = 0.001


def predict(rungs: Sequence[FittedRung], parameters: float, level: float) -> dict[str, LaunchLoss]:
    """The loss of a model of so many parameters, by language, at the rungs' token budget.

    Raises InputError where fewer than LEAST_SIZES sizes have a loss at one budget.
    """
    used = of_one_budget(rungs)
    sizes = np.array([rung.parameters for rung in used], float)
    found = {}
    for name in LANGUAGES:
        if all(name in rung.losses for rung in used):
            mean, sd = (np.array([getattr(rung.losses[name], kind) for rung in used]) for kind in ("mean", "sd"))
            loss, interval = _predict(sizes, mean, np.maximum(sd, LEAST_SD), parameters, level)
            found[name] = LaunchLoss(loss=loss, interval=interval, sizes=len(used), tokens=used[-1].tokens)
    if not found:
        raise InputError(
            f"the loss after the launch is not predicted: no language has a loss at each of {len(used)} sizes: state "
            f"loss_original and loss_additional of every rung in launch.transfer.rungs"
        )
    return found


def of_one_budget(rungs: Sequence[FittedRung]) -> list[FittedRung]:
    """One rung of each size, ascending, at the largest token budget that LEAST_SIZES sizes share.

    Of several batches, that nearest to the last rung's, which is this sweep. Raises InputError as `predict`.
    """
    last, most = rungs[-1], 0
    for tokens in sorted({rung.tokens for rung in rungs}, reverse=True):
        sizes: dict[int, FittedRung] = {}
        there = [rung for rung in rungs if rung.losses and _near(rung.tokens, tokens)]
        for rung in sorted(there, key=lambda one: -abs(np.log(one.batch / last.batch))):
            sizes[rung.parameters] = rung
        if len(sizes) >= LEAST_SIZES:
            return [sizes[size] for size in sorted(sizes)]
        most = max(most, len(sizes))
    raise InputError(
        f"the loss after the launch is not predicted: that takes the losses of {LEAST_SIZES} model sizes at one token "
        f"budget, and there are {most}: add runs of other sizes to launch.transfer.rungs"
    )


def _near(one: float, other: float) -> bool:
    return max(one, other) <= FAR_APART * min(one, other)


def _predict(sizes: Array, mean: Array, sd: Array, parameters: float, level: float) -> tuple[float, Interval]:
    """`sizes`, `mean` and `sd` (n,), ascending in size: the mean of the mixture at `parameters`, and its interval."""
    means, sds, logs = (np.concatenate(parts) for parts in zip(*_each(sizes, mean, sd, parameters), strict=True))
    probability = np.exp(logs - logs.max())
    probability /= probability.sum()
    low, high = (quantile(means, sds, probability, share) for share in ((1 - level) / 2, (1 + level) / 2))
    return float(probability @ means), Interval(low=low, high=high)


def _each(sizes: Array, mean: Array, sd: Array, parameters: float) -> list[tuple[Array, Array, Array]]:
    """For each alpha, over the scatter (SCATTERS,): the prediction's mean and sd, and the log posterior."""
    found = []
    for alpha in ALPHAS:
        drop = _drop(sizes, alpha, sizes)
        line = LadderLine(np.stack([np.ones_like(drop), drop], axis=1), mean, sd, ("size",), np.zeros(1), PRIOR)
        point = np.array([1.0, float(_drop(np.array([parameters]), alpha, sizes)[0])])
        taus = np.linspace(0, 3 * PRIOR, SCATTERS)
        fits = [line.at(tau) for tau in taus]
        spread = [np.sqrt(point @ covariance @ point + tau**2) for (_, covariance), tau in zip(fits, taus, strict=True)]
        centres = [point @ coefficients for coefficients, _ in fits]
        found.append((np.array(centres), np.array(spread), np.array([line.log_posterior(tau) for tau in taus])))
    return found


def _drop(at: Array, alpha: float, sizes: Array) -> Array:
    """N ** -alpha, scaled to 1 at the smallest of `sizes` and 0 at the largest."""
    powers = (at / sizes[-1]) ** -alpha
    return np.asarray((powers - 1) / ((sizes[0] / sizes[-1]) ** -alpha - 1))
