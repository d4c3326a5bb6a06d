"""What to run next, from axes alone."""

import numpy as np
import pytest

from analysis.decision.findings.next_trials import (
    MOST,
    around,
    beyond,
    gentler,
    neighbours,
    repeats,
    third_value,
    trials,
)
from analysis.decision.findings.range_edges import RangeEdge
from analysis.table.table import TriedPoints

ALMRS, LRS = (0.1, 0.3, 0.5), (1e-5, 1e-4, 1e-3)
NOTHING = np.empty((0, 2))


def grid(almrs=ALMRS, lrs=LRS, diverged=NOTHING):
    return TriedPoints(np.array([(a, r) for a in almrs for r in lrs]), np.asarray(diverged, dtype=float))


def points(found):
    return [(trial.almr, trial.lr) for trial in found]


@pytest.mark.parametrize(("upper", "lrs"), [(True, [1e-2, 1e-1]), (False, [1e-6, 1e-7])])
def test_lrs_past_an_end_are_one_and_two_steps_away_at_three_almrs(upper, lrs):
    found = points(beyond(grid(), RangeEdge("lr", LRS[-1 if upper else 0], upper), 0.32, 1e-3))
    assert found == [(a, pytest.approx(r)) for r in lrs for a in (0.3, 0.1, 0.5)]


def test_no_lr_is_proposed_where_trials_diverged():
    end = RangeEdge("lr", 1e-3, True)
    far = points(beyond(grid(diverged=[(0.3, 5e-2)]), end, 0.3, 1e-3))
    assert {lr for _, lr in far} == {1e-2}
    near = points(beyond(grid(diverged=[(0.3, 4e-3)]), end, 0.3, 1e-3))
    assert {lr for _, lr in near} == {2e-3}


@pytest.mark.parametrize(
    ("almrs", "upper", "expected"),
    [
        ((0.3, 0.4, 0.5), True, {0.6, 0.7}),
        ((0.3, 0.4, 0.5), False, {0.2, 0.1}),
        ((0.1, 0.3, 0.5), False, {0.05, 0.0}),
        ((0.5, 0.7, 0.9), True, {0.95, 1.0}),
        ((0.1, 0.2, 0.3), False, {0.05, 0.0}),
    ],
)
def test_almrs_past_an_end_stay_within_0_and_1(almrs, upper, expected):
    found = points(beyond(grid(almrs), RangeEdge("almr", almrs[-1 if upper else 0], upper), 0.4, 1e-4))
    assert {almr for almr, _ in found} == expected
    assert {lr for _, lr in found} == set(LRS)


def test_proposals_are_rounded_possible_new_and_few():
    wanted = [(0.1, 1e-5), (0.12345, 1.23456e-5), (0.12349, 1.23451e-5), (1.2, 1e-5), (-0.1, 1e-5)]
    assert points(trials(wanted, grid())) == [(0.123, 1.23e-5)]
    assert [repr(almr) for almr, _ in points(trials([(1.4e-17, 5e-4), (-1.4e-17, 6e-4)], grid()))] == ["0.0", "0.0"]
    assert len(trials([(0.2, lr) for lr in np.geomspace(1e-6, 1e-2, 20)], grid())) == MOST


def test_a_trial_that_diverged_is_not_proposed_again():
    assert trials([(0.2, 2e-3)], grid(diverged=[(0.2, 2e-3)])) == ()


def test_two_values_want_one_between_and_one_past_the_nearer():
    found = points(third_value(grid(lrs=(1e-5, 1e-3)), "lr", 0.3, 9e-4))
    assert {lr for _, lr in found} == {1e-4, 1e-1}
    assert {almr for almr, _ in found} == set(ALMRS)


def test_one_value_wants_both_sides():
    found = points(third_value(grid(almrs=(0.3,)), "almr", 0.3, 1e-4))
    assert {almr for almr, _ in found} == {0.1, 0.5}


def test_repeats_are_the_very_trials_that_were_measured():
    measured = grid((0.1, 0.3, 0.512345), (1e-5, 1.00001e-4))
    assert points(repeats(measured, [(0.5, 1.1e-4), (0.52, 9e-5), (0.1, 1e-6)])) == [
        (0.512345, 1.00001e-4),
        (0.1, 1e-5),
    ]


def test_around_a_point_is_half_a_step_to_each_side():
    found = points(around(grid(), 0.05, 1e-4))
    assert found == [(0.05, 1e-4), (0.05, 3.16e-5), (0.05, 3.16e-4), (0.15, 1e-4)]


def test_gentler_is_no_more_of_either_hyperparameter():
    found = points(gentler(grid(), 0.1, 1e-5))
    assert found
    assert all(almr <= 0.1 and lr <= 1e-5 for almr, lr in found)


def test_a_searched_design_counts_as_even_values():
    random = np.random.default_rng(0)
    scattered = TriedPoints(np.stack([random.uniform(0, 1, 40), np.exp(random.uniform(-11, -7, 40))], axis=1), NOTHING)
    assert 0.05 < scattered.almr_step < 0.3
    assert 1.3 < scattered.lr_factor < 3


def test_values_that_differ_by_rounding_are_one():
    assert len(grid(almrs=(0.1, 0.30000000000000004, 0.3, 0.5)).almrs) == 3
    assert neighbours(np.array([1.0, 2.0, 3.0]), 2.1) == [2.0, 1.0, 3.0]
    assert neighbours(np.array([1.0, 2.0, 3.0]), 0.0) == [1.0, 2.0]
