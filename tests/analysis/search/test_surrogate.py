"""The search's model of a loss: its scale, and that it is a Gaussian process of known form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from analysis.search.space import Space
from analysis.search.surrogate import CAP, RESOLUTION, SD, START, SlantedKernel, Surrogate, Warp

SPACE = Space.grid(np.linspace(0.1, 0.9, 5).tolist(), np.geomspace(1e-5, 1e-3, 7).tolist())
POINTS = SPACE.cells[::3]
LOSSES = np.array([3.0 + (a - 0.5) ** 2 + 0.02 * np.log(r / 1e-4) ** 2 for a, r in POINTS])


@given(st.floats(0, 9), st.lists(st.floats(0, 9), min_size=2, max_size=9))
def test_the_scale_keeps_the_order_up_to_the_cap_and_has_an_inverse(centre: float, losses: list[float]) -> None:
    warp, given = Warp(centre), np.array(sorted(losses))
    warped = warp.of(given)
    assert (np.diff(warped) >= 0).all()
    assert warp.nats(warped) == pytest.approx(np.clip(given - centre, -CAP, CAP), abs=1e-9)


def test_near_the_best_the_scale_is_linear_and_far_from_it_a_logarithm() -> None:
    warp = Warp(3.0)
    assert warp.of([3.0, 3.0001, 2.9999]) * RESOLUTION == pytest.approx([0, 1e-4, -1e-4], rel=0.01)
    assert warp.of(3.2) - warp.of(3.1) == pytest.approx(np.log(21 / 11))
    assert warp.of(3.0 + CAP) == pytest.approx(warp.of(9.0))


def test_a_process_without_noise_passes_through_its_trials_and_knows_less_elsewhere() -> None:
    found = Surrogate.fit(SPACE, POINTS, LOSSES, Warp(float(LOSSES.min())))
    mean, sd = found.predict(*np.array(POINTS).T)
    assert mean == pytest.approx(found.warp.of(LOSSES), abs=0.1)
    elsewhere = found.predict(SPACE.almr, SPACE.lr)[1]
    assert elsewhere.max() > 3 * sd.max()


def test_its_kernel_parameters_are_those_of_the_highest_likelihood_times_prior() -> None:
    found = Surrogate.fit(SPACE, POINTS, LOSSES, Warp(float(LOSSES.min()))).process

    def posterior(theta: np.ndarray) -> float:
        return found.log_marginal_likelihood(theta) - (((theta - START) / SD) ** 2).sum() / 2

    best = found.kernel_.theta
    around = best + 0.3 * np.random.default_rng(0).standard_normal((60, len(best)))
    assert max(map(posterior, around)) < posterior(best) + 1e-6


@pytest.mark.parametrize("slant", [-0.7, 0.0, 1.3])
def test_its_covariance_is_materns_along_the_slant_and_its_gradient_that_of_differences(
    slant: float,
) -> None:
    x = np.random.default_rng(1).uniform(size=(6, 2))
    theta = START + np.array([0.2, -0.1, 0.3, slant, 1.0])
    kernel = SlantedKernel(theta)
    slanted = np.stack([x[:, 0], x[:, 1] - slant * x[:, 0]], axis=1) / np.exp(theta[1:3])
    same = 1 + np.exp(theta[0]) * Matern(1.0, nu=2.5)(slanted)
    assert kernel(x, x) == pytest.approx(same)
    assert kernel(x) == pytest.approx(same + np.exp(theta[4]) * np.eye(6))
    assert kernel.diag(x) == pytest.approx(np.diag(kernel(x)))
    gradient = kernel(x, eval_gradient=True)[1]
    for k, step in enumerate(1e-6 * np.eye(5)):
        differences = (SlantedKernel(theta + step)(x) - SlantedKernel(theta - step)(x)) / 2e-6
        assert gradient[:, :, k] == pytest.approx(differences, abs=1e-6)


def test_it_sees_that_the_best_lr_moves_with_almr() -> None:
    space = Space.grid(np.linspace(0.1, 0.9, 9).tolist(), np.geomspace(1e-5, 1e-3, 9).tolist())
    points = [space.cells[i] for i in np.random.default_rng(0).permutation(81)[:30]]
    for slope in (-3.0, 3.0):
        losses = np.array([3 + 0.05 * (np.log(r / 1e-4) - slope * (a - 0.5)) ** 2 for a, r in points])
        slant = Surrogate.fit(space, points, losses, Warp(losses.min())).process.kernel_.theta[3]
        assert slant == pytest.approx(slope * 0.8 / np.log(100), abs=0.15)


def test_draws_have_the_mean_and_the_spread_of_the_prediction() -> None:
    found = Surrogate.fit(SPACE, POINTS, LOSSES, Warp(float(LOSSES.min())))
    mean, sd = found.predict(SPACE.almr, SPACE.lr)
    drawn = found.sample(SPACE.almr, SPACE.lr, 4000, seed=0)
    wide = sd > 0.1
    assert wide.any()
    assert drawn.mean(axis=0)[wide] == pytest.approx(mean[wide], abs=5 * float(sd.max()) / 60)
    assert drawn.std(axis=0)[wide] == pytest.approx(sd[wide], rel=0.1)


def test_conditioned_on_its_mean_the_mean_stays_and_the_uncertainty_there_goes() -> None:
    found = Surrogate.fit(SPACE, POINTS, LOSSES, Warp(float(LOSSES.min())))
    added = [SPACE.cells[1], SPACE.cells[17]]
    after = found.conditioned_on_mean(added)
    assert after.predict(SPACE.almr, SPACE.lr)[0] == pytest.approx(found.predict(SPACE.almr, SPACE.lr)[0], abs=1e-3)
    before, left = (one.predict(*np.array(added).T)[1] for one in (found, after))
    assert (left < before).all()
    assert found.conditioned_on_mean([]) is found
    assert isinstance(found.process, GaussianProcessRegressor)
