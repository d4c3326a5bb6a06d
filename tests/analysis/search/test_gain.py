"""What a trial is worth: expected improvement, and the share of the curve's variance that it explains."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from known_surfaces import Known, grid, measure

from analysis.decision.objectives import GuardedGoal, WeightedGoal
from analysis.search import gain
from analysis.search.propose import SearchContext, fit
from analysis.search.space import Space

BOTH = WeightedGoal({"original": 0.5, "additional": 0.5})
SPACE = Space(tuple((float(a), float(r)) for a, r in grid(5, 5)))


@pytest.fixture(scope="module")
def model():
    return fit(SearchContext(measure(Known(coupling=1.0), grid(4, 4), noise=0.003), BOTH, SPACE))


@pytest.mark.parametrize(("mean", "sd"), [(3.0, 0.1), (3.2, 0.1), (2.9, 0.02), (3.5, 0.3)])
def test_expected_improvement_is_the_mean_over_draws(mean: float, sd: float) -> None:
    best = 3.05
    draws = np.random.default_rng(0).normal(mean, sd, 400_000)
    found = gain.expected_improvement(np.array([mean]), np.array([sd]), best)
    assert found[0] == pytest.approx(np.maximum(best - draws, 0).mean(), rel=0.02, abs=2e-5)


def test_what_is_certain_improves_by_what_it_is_lower() -> None:
    found = gain.expected_improvement(np.array([2.9, 3.1]), np.zeros(2), 3.0)
    assert found == pytest.approx([0.1, 0.0], abs=1e-9)


def test_the_prediction_is_of_the_objective(model) -> None:
    both = model.predict(SPACE.almr, SPACE.lr)
    truth = Known(coupling=1.0).mean(SPACE.almr, SPACE.lr)
    near = truth < truth.min() + 0.05
    found = model.objective.warp.centre + model.objective.warp.nats(both.mean)
    assert found[near] == pytest.approx(truth[near], abs=0.02)
    assert np.corrcoef(both.mean, model.objective.warp.of(truth))[0, 1] > 0.97
    assert (both.sd > 0).all()
    assert (both.allowed == 1).all()


def test_under_a_guard_cells_that_break_it_are_not_allowed() -> None:
    low, high = 3.48, 3.70
    table = measure(Known(coupling=1.0), grid(4, 4), noise=0.003)
    original = Known(coupling=1.0).losses(SPACE.almr, SPACE.lr)["original"]
    guarded = fit(SearchContext(table, GuardedGoal((low + high) / 2, 0.9), SPACE))
    predicted = guarded.predict(SPACE.almr, SPACE.lr)
    assert (predicted.allowed[original < low] > 0.9).all()
    assert (predicted.allowed[original > high] < 0.1).all()
    drawn = guarded.sample(SPACE.almr, SPACE.lr, seed=3, allowed=len(SPACE.cells))
    assert np.isfinite(drawn)[:, original < low].mean() > 0.9
    assert np.isinf(drawn)[:, original > high].mean() > 0.9
    assert np.isfinite(guarded.sample(SPACE.almr, SPACE.lr, seed=3)).all()


def test_the_expected_loss_of_a_launch_is_what_launches_lose_on_average() -> None:
    """Of surfaces that the model itself draws, measured at 16 points: within a factor of two over 40 of them."""
    start = fit(SearchContext(measure(Known(coupling=1.0), grid(4, 4), noise=0.003), BOTH, SPACE))
    cells = np.array(SPACE.cells)
    draws = start.objective.warp.nats(start.sample(SPACE.almr, SPACE.lr, seed=5)[:40]) + 3.5
    expected, lost = [], []
    for i, losses in enumerate(draws):
        tried = np.random.default_rng(i).permutation(len(cells))[:16]
        table = pd.DataFrame({"almr": cells[tried, 0], "lr": cells[tried, 1], "loss_total": losses[tried]})
        table = table.assign(status="complete", excluded=pd.Series([None] * 16, dtype=object))
        model = fit(SearchContext(table, WeightedGoal({"total": 1.0}), SPACE))
        expected.append(gain.launch_loss(model, SPACE, [SPACE.cells[i] for i in tried], seed=i))
        lost.append(losses[tried].min() - losses.min())
    assert 0.5 < np.mean(expected) / np.mean(lost) < 2


def test_a_launch_from_all_cells_is_expected_to_lose_next_to_nothing(model) -> None:
    table = measure(Known(coupling=1.0), SPACE.cells, noise=0.0)
    known = fit(SearchContext(table, BOTH, SPACE))
    assert gain.launch_loss(known, SPACE, SPACE.cells, seed=0) < 5e-4
    few = [SPACE.cells[0], SPACE.cells[1]]
    assert gain.launch_loss(known, SPACE, few, seed=0) > 0.05


@pytest.mark.parametrize("what", ["curve", "winner"])
def test_a_trial_explains_a_share_of_what_is_sharpened(model, what: str) -> None:
    shares = gain.variance_explained(what, model, SPACE, SPACE, seed=0)
    assert shares.shape == (25,)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert shares == pytest.approx(gain.variance_explained(what, model, SPACE, SPACE, seed=0))


def test_where_all_is_known_a_trial_explains_less() -> None:
    """Of a curve that half the range was never measured for, trials in that half explain most."""
    half = [(a, r) for a, r in grid(7, 5) if a < 0.5]
    model = fit(SearchContext(measure(Known(coupling=1.0), half, noise=0.003), BOTH, SPACE))
    shares = gain.variance_explained("curve", model, SPACE, SPACE, seed=0)
    assert SPACE.almr[shares.argmax()] > 0.5
    assert shares[SPACE.almr > 0.6].mean() > 2 * shares[SPACE.almr < 0.4].mean()
