import numpy as np
import pytest

from analysis.surface import MINIMUM_TRIALS, Surface, WeightedSurface
from sweep.study import InputError

GRID = np.array([(a, lr) for a in (0.1, 0.3, 0.5, 0.7, 0.9) for lr in np.geomspace(1e-5, 1e-3, 6)])


@pytest.fixture(scope="module")
def surface(true_losses) -> Surface:
    noise = 0.01 * np.random.default_rng(3).standard_normal(len(GRID))
    return Surface.fit(*GRID.T, [true_losses(a, lr, 1.0)["original"] for a, lr in GRID] + noise)


def test_the_surface_is_the_truth_between_the_points(surface, true_losses):
    between = np.array([(a, lr) for a in (0.2, 0.55, 0.8) for lr in (2e-5, 1.2e-4, 7e-4)])
    mean, sd = surface.predict(*between.T)
    truth = np.array([true_losses(a, lr, 1.0)["original"] for a, lr in between])
    assert mean == pytest.approx(truth, abs=0.015)
    assert (np.abs(mean - truth) < 3.5 * sd).all()
    assert (sd < 0.01).all()


def test_noise_is_recovered(surface):
    assert 0.006 < surface.noise < 0.014


def test_uncertainty_grows_away_from_the_measured_points(true_losses):
    left = GRID[GRID[:, 0] != 0.5]
    loss = [np.sin(6 * a) + true_losses(a, lr, 1.0)["original"] for a, lr in left]
    _, sd = Surface.fit(*left.T, loss).predict([0.3, 0.5], [1e-4, 1e-4])
    assert sd[1] > 2 * sd[0]


def test_predict_and_sample_have_the_stated_shapes(surface):
    mean, sd = surface.predict([0.2, 0.4, 0.6], [1e-4, 1e-4, 1e-4])
    assert mean.shape == sd.shape == (3,)
    assert surface.sample([0.2, 0.4, 0.6], [1e-4] * 3, draws=7, seed=0).shape == (7, 3)


def test_samples_agree_with_predict(surface):
    almr, lr = np.array([0.15, 0.5, 0.5, 0.85]), np.array([2e-5, 1e-4, 1.1e-4, 9e-4])
    mean, sd = surface.predict(almr, lr)
    draws = surface.sample(almr, lr, draws=20_000, seed=1)
    assert draws.mean(axis=0) == pytest.approx(mean, abs=4 * sd.max() / np.sqrt(20_000))
    assert draws.std(axis=0) == pytest.approx(sd, rel=0.05)
    # Joint draws: neighbours move together, so their difference varies less than either.
    assert (draws[:, 1] - draws[:, 2]).std() < 0.5 * sd[1]


def test_samples_follow_the_seed(surface):
    one, again, other = (surface.sample([0.5], [1e-4], 5, seed) for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).all()


def test_leave_one_out_is_a_refit_without_each_trial_at_fixed_hyperparameters(surface):
    mean, sd = surface.leave_one_out()
    scaled, y = surface.process.X_train_, surface.process.y_train_
    covariance = surface.process.kernel_(scaled) + surface.process.alpha * np.eye(len(y))
    spread = surface.loss.std()
    for i in (0, 7, 14, 29):
        rest = np.arange(len(y)) != i
        solved = np.linalg.solve(covariance[np.ix_(rest, rest)], np.stack([y[rest], covariance[rest, i]], axis=1))
        expected_mean = surface.loss.mean() + spread * (covariance[i, rest] @ solved[:, 0])
        expected_sd = spread * np.sqrt(covariance[i, i] - covariance[i, rest] @ solved[:, 1])
        assert mean[i] == pytest.approx(expected_mean, abs=1e-6)
        assert sd[i] == pytest.approx(expected_sd, rel=1e-4)


def test_too_few_trials_are_refused():
    few = GRID[: MINIMUM_TRIALS - 1]
    with pytest.raises(InputError, match=rf"{len(few)} usable trials: a surface needs {MINIMUM_TRIALS} or more"):
        Surface.fit(*few.T, np.ones(len(few)))


def test_equal_losses_make_a_flat_surface():
    mean, sd = Surface.fit(*GRID.T, np.full(len(GRID), 3.0)).predict([0.2, 0.9], [1e-5, 5e-4])
    assert mean == pytest.approx([3.0, 3.0], abs=1e-6)
    assert np.isfinite(sd).all()


def test_the_objective_weighs_means_and_adds_variances(surface):
    both = WeightedSurface(((0.25, surface), (0.75, surface)))
    mean, sd = surface.predict([0.4], [1e-4])
    weighted_mean, weighted_sd = both.predict([0.4], [1e-4])
    assert weighted_mean == pytest.approx(mean)
    assert weighted_sd == pytest.approx(sd * np.hypot(0.25, 0.75))


def test_the_languages_of_an_objective_vary_independently(surface):
    both = WeightedSurface(((0.5, surface), (0.5, surface)))
    _, sd = both.predict([0.4], [1e-4])
    draws = both.sample([0.4], [1e-4], draws=20_000, seed=0)
    assert draws.std() == pytest.approx(sd[0], rel=0.05)
