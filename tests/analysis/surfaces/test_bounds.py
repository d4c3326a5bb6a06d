"""A diverged trial has no loss, but the surface there must not be lower than beside it."""

import numpy as np
import pandas as pd
import pytest
from known_surfaces import LRS, Known, grid, lost, measure
from scipy.stats import norm

from analysis.decision.curve import divergence_edge
from analysis.surfaces import bounds
from analysis.surfaces.surface import fit_languages

LOW = Known(lr=8e-4)  # lowest just under the highest LR


def predict(table, almr, lr):
    surface = fit_languages(table, ("original",))["original"]
    mean, sd = surface.predict([almr], [lr])
    return float(mean[0]), float(sd[0])


def with_lost(table, almr, lr, status="diverged"):
    """The table with one more trial, which has no loss."""
    longer = pd.concat([table, measure(Known(), [(almr, lr)])], ignore_index=True)
    return lost(longer, [len(table)], status)


def test_a_surface_that_falls_towards_divergence_is_raised():
    """Seen up to LR 2e-4 the loss still falls; at 1e-3 a trial diverged."""
    falling = measure(LOW, [(a, lr) for a, lr in grid(5, 9) if lr < 2e-4])
    bounded = falling
    for almr in (0.1, 0.3, 0.5, 0.7, 0.9):
        bounded = with_lost(bounded, almr, LRS[1])
    before, _ = predict(falling, 0.5, LRS[1])
    after, _ = predict(bounded, 0.5, LRS[1])
    beside = float(LOW.losses(0.5, 1.8e-4)["original"])
    assert before < beside - 0.03
    assert after > beside - 0.03
    assert after > before + 0.03


def test_a_bound_that_the_surface_respects_changes_nothing():
    table = measure(Known(), grid(5, 6))
    assert predict(table, 0.5, 9e-4) == pytest.approx(predict(with_lost(table, 0.5, 2e-3), 0.5, 9e-4), abs=1e-9)


def test_a_failed_trial_is_no_bound():
    falling = measure(LOW, [(a, lr) for a, lr in grid(5, 9) if lr < 2e-4])
    failed = with_lost(falling, 0.5, LRS[1], "failed")
    assert predict(failed, 0.5, LRS[1]) == predict(falling, 0.5, LRS[1])


def test_a_trial_that_diverged_at_the_lowest_lr_leaves_the_fit_standing():
    table = measure(Known(), grid(5, 6))
    mean, sd = predict(with_lost(table, 0.5, 5e-6), 0.5, 1e-4)
    assert mean == pytest.approx(float(Known().losses(0.5, 1e-4)["original"]), abs=0.02)
    assert 0 < sd < 0.02


def test_the_bound_is_the_nearest_trial_at_no_higher_lr():
    x = np.array([(0.0, -1.0), (0.0, 0.0), (0.0, 0.9), (1.0, 0.0)])
    y = np.array([1.0, 2.0, 3.0, 4.0])
    diverged = np.array([(0.0, 0.5), (0.9, 0.1), (0.0, -2.0)])
    assert bounds.of_neighbours(x, y, diverged).tolist() == [2.0, 4.0, 1.0]


@pytest.mark.parametrize(("mean", "variance", "bound", "noise"), [(0.0, 1.0, 0.5, 0.2), (-1.0, 0.3, 1.0, 0.05)])
def test_one_bound_gives_the_moments_of_the_truncated_normal(mean, variance, bound, noise):
    """One site is exact: the mean and variance that sampling gives."""
    value, extra = bounds.as_observations(
        np.array([mean]), np.array([[variance]]), np.array([bound]), np.array([noise])
    )
    precision = 1 / variance + 1 / extra[0]
    approximate = (mean / variance + value[0] / extra[0]) / precision
    f = np.linspace(mean - 8 * np.sqrt(variance), mean + 8 * np.sqrt(variance), 20_001)
    weight = norm.pdf(f, mean, np.sqrt(variance)) * norm.cdf((f - bound) / np.sqrt(noise))
    exact = np.average(f, weights=weight)
    assert approximate == pytest.approx(exact, abs=1e-4)
    assert 1 / precision == pytest.approx(np.average((f - exact) ** 2, weights=weight), rel=1e-3)


def test_bounds_far_below_need_no_observation():
    _, variance = bounds.as_observations(np.zeros(3), np.eye(3), np.full(3, -50.0), np.full(3, 0.1))
    assert np.isinf(variance).all()


def test_the_divergence_edge_lies_between_the_trials_that_diverged_and_those_that_did_not():
    table = measure(Known(), grid(5, 9))
    cut = 2.4e-4 * np.exp(0.8 * (0.5 - table["almr"]))  # it falls with ALMR
    table = lost(table, table["lr"] > cut, "diverged")
    for almr in (0.2, 0.5, 0.8):
        edge = divergence_edge(table, almr, 1e-4)
        assert np.log(edge.lr) == pytest.approx(np.log(2.4e-4) + 0.8 * (0.5 - almr), abs=0.4)
        assert edge.factor == pytest.approx(edge.lr / 1e-4)
    assert edge.trials == int((table["status"] == "diverged").sum())


def test_without_divergence_the_edge_is_above_all_that_was_measured():
    edge = divergence_edge(measure(Known(), grid(5, 6)), 0.5, 1e-4)
    assert edge.trials == 0
    assert edge.lr == pytest.approx(LRS[1])


def test_divergence_at_low_lrs_only_gives_no_edge():
    table = measure(Known(), grid(5, 6))
    edge = divergence_edge(lost(table, table["lr"] < 3e-5, "diverged"), 0.5, 1e-4)
    assert edge.trials == 10
    assert edge.lr is None
    assert edge.factor is None
