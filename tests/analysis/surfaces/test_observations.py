"""Many trials: what is averaged says the same as the trials."""

import numpy as np
import pytest
from known_surfaces import Known, grid, measure, scattered

from analysis.surfaces import observations
from analysis.surfaces.scale import Scale
from analysis.surfaces.surface import Surface

KNOWN = Known(coupling=1.0)
AT = np.array([(a, lr) for a in (0.2, 0.55, 0.8) for lr in (2e-5, 1.2e-4, 7e-4)]).T


def fitted(table, diverged=((), ())) -> Surface:
    return Surface.fit(Scale.of(table["almr"], table["lr"], table["loss_original"]), diverged)


def test_the_repeats_of_a_point_say_together_what_each_says(monkeypatch):
    table = measure(KNOWN, grid(5, 6) * 3, noise=0.01, seed=3)
    each = fitted(table)
    monkeypatch.setattr(observations, "MOST", 40)
    together = fitted(table)
    assert len(together.members[0].seen.y) == 30 < len(table) == len(each.members[0].seen.y)
    for one, other in zip(each.predict(*AT), together.predict(*AT), strict=True):
        assert other == pytest.approx(one, rel=1e-6)
    for one, other in zip(each.leave_one_out(), together.leave_one_out(), strict=True):
        assert other == pytest.approx(one, rel=1e-6)


def test_trials_at_many_points_are_averaged_in_bins_to_a_fraction_of_what_is_known(monkeypatch):
    table = measure(KNOWN, scattered(220, seed=1), noise=0.01, seed=3)
    each = fitted(table)
    monkeypatch.setattr(observations, "MOST", 150)
    monkeypatch.setattr(observations, "BINS", 12)
    together = fitted(table)
    assert len(together.members[0].seen.y) <= 144
    (mean, sd), (other, other_sd) = each.predict(*AT), together.predict(*AT)
    assert (np.abs(mean - other) < 0.3 * sd).all()
    assert other_sd == pytest.approx(sd, rel=0.1)
    predicted, with_noise = together.leave_one_out()
    assert len(predicted) == len(table)
    assert with_noise == pytest.approx(each.leave_one_out()[1], rel=0.1)
    assert np.std(table["loss_original"] - predicted) == pytest.approx(0.01, rel=0.2)


def test_of_many_diverged_trials_those_of_the_lowest_lrs_bound_the_surface(monkeypatch):
    table = measure(KNOWN, grid(5, 6), noise=0.01, seed=3)
    diverged = np.array([(a, lr) for a in np.linspace(0.1, 0.9, 20) for lr in (2e-3, 4e-3)]).T
    every = fitted(table, diverged)
    monkeypatch.setattr(observations, "MOST_BOUNDS", 10)
    some = observations.thinned(diverged.T)
    assert len(some) < diverged.shape[1]
    assert set(some[:, 1]) == {2e-3, 4e-3}
    assert set(some[:, 0]) <= set(diverged[0])
    (mean, sd), (other, _) = every.predict(*AT), fitted(table, diverged).predict(*AT)
    assert (np.abs(mean - other) < sd).all()
