"""Confirmation runs around the chosen LR: brackets whose answer is known."""

import math

import numpy as np
import pytest

from analysis.transfer.bracket import ConfirmationRun, compare
from sweep.study import InputError

CHOSEN, NOISE, TOLERANCE = 2e-5, 0.0005, 0.005
FACTORS = (0.5, 0.7071, 1.0, 1.4142, 2.0)


def runs(best, curvature=0.02, factors=FACTORS, noise=0.0, seed=0):
    random = np.random.default_rng(seed)
    return [
        ConfirmationRun(
            lr=CHOSEN * f, loss=2.0 + curvature * math.log(CHOSEN * f / best) ** 2 + noise * random.standard_normal()
        )
        for f in factors
    ]


def answer(measured, noise=NOISE):
    return compare(measured, CHOSEN, noise, TOLERANCE, 0.9)


def test_a_bracket_about_the_chosen_lr_confirms_it():
    found = answer(runs(CHOSEN))
    assert found.answer == "holds"
    assert found.best == pytest.approx(CHOSEN, rel=0.02)
    assert found.interval.low < CHOSEN < found.interval.high


def test_near_enough_holds_though_the_interval_excludes_it():
    found = answer(runs(1.3 * CHOSEN), noise=0.0001)
    assert found.answer == "holds"
    assert found.interval.low > CHOSEN
    assert "the chosen LR is outside the interval of the best LR, but costs only 0.0" in found.why


def test_a_best_lr_elsewhere_moves_the_launch():
    found = answer(runs(CHOSEN / 1.8, curvature=0.05))
    assert found.answer == "moved"
    assert found.best == pytest.approx(CHOSEN / 1.8, rel=0.05)
    assert found.cost_interval.low > TOLERANCE


def test_noise_as_large_as_the_differences_decides_nothing():
    found = answer(runs(CHOSEN / 1.4, noise=0.01), noise=0.01)
    assert found.answer == "undecided"
    assert found.next


def test_a_minimum_beyond_the_bracket_asks_for_more_runs():
    found = answer(runs(CHOSEN / 4, curvature=0.05))
    assert (found.answer, found.best) == ("undecided", None)
    assert found.next == (pytest.approx(CHOSEN / 4),)


def test_a_chosen_lr_that_diverges_never_holds():
    measured = [r for r in runs(CHOSEN / 1.5, factors=(0.35, 0.5, 0.7071)) if r.lr < CHOSEN]
    found = answer([*measured, ConfirmationRun(lr=CHOSEN, loss=None), ConfirmationRun(lr=2 * CHOSEN, loss=None)])
    assert found.answer == "moved"
    assert found.best < CHOSEN


def test_divergence_over_the_chosen_lr_is_no_objection():
    assert (
        answer([*runs(CHOSEN, factors=(0.5, 0.7071, 1, 1.4142)), ConfirmationRun(lr=2 * CHOSEN, loss=None)]).answer
        == "holds"
    )


def test_two_lrs_are_too_few():
    with pytest.raises(InputError, match="needs 3"):
        answer(runs(CHOSEN, factors=(0.5, 2)))


@pytest.mark.parametrize("close", [1.0001, 1.009])
def test_lrs_that_lie_close_together_count_as_one(close):
    with pytest.raises(InputError, match=r"2 distinct LRs have a loss \(LRs under 1 % apart count as one\)"):
        answer(runs(CHOSEN, factors=(0.5, 1, close)))
    assert answer(runs(CHOSEN, factors=(0.5, 1, close, 2))).answer == "holds"


@pytest.mark.parametrize("far", [0.01, 1, 300])
def test_a_narrow_bracket_has_an_answer_wherever_it_lies(far):
    assert answer(runs(CHOSEN, factors=(far, 1.02 * far, 1.04 * far))).answer in ("holds", "moved", "undecided")


def test_three_runs_lean_on_the_noise_of_the_sweep():
    few = runs(CHOSEN, factors=(0.5, 1, 2))
    quiet, loud = (answer(few, noise) for noise in (0.0002, 0.002))
    assert quiet.interval.high / quiet.interval.low < loud.interval.high / loud.interval.low


def test_the_interval_holds_the_best_lr_as_often_as_it_says():
    best, inside, repeats = 1.2 * CHOSEN, 0, 120
    for seed in range(repeats):
        found = answer(runs(best, noise=0.001, seed=seed), noise=0.001).interval
        inside += found is not None and found.low <= best <= found.high
    assert 0.84 <= inside / repeats <= 0.97


@pytest.mark.parametrize("slope", [-0.1, 0.1])
@pytest.mark.parametrize("bend", [2.9e-4, 6e-4, 2e-3])
def test_runs_on_a_steep_and_nearly_straight_line_are_undecided_with_an_interval_that_can_be_written(slope, bend):
    """The prediction is far off: the vertex of their quadratic is at e^1000 times their LRs, and was computed."""
    x = np.log(FACTORS)
    losses = 2.0 + slope * x + bend * x**2
    measured = [ConfirmationRun(lr=CHOSEN * f, loss=float(loss)) for f, loss in zip(FACTORS, losses, strict=True)]
    found = answer(measured, noise=1e-4)
    assert (found.answer, found.best) == ("undecided", None)
    lowest = CHOSEN * (2.0 if slope < 0 else 0.5)
    assert found.next == (pytest.approx(2 * lowest if slope < 0 else lowest / 2),)
    ends = (1 - 1e-9) * lowest, (1 + 1e-9) * 100 * lowest
    low, high = ends if slope < 0 else ((1 - 1e-9) * lowest / 100, (1 + 1e-9) * lowest)
    assert low <= found.interval.low < found.interval.high <= high
