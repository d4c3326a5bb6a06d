"""The two goals, weights and the forgetting guard, and the front between the languages."""

import math

import numpy as np
import pandas as pd
import pytest
from known_surfaces import APART, LOWEST, Known, grid, measure

from analysis.decision.curve import WEIGHTS, front
from analysis.decision.objectives import GuardedGoal, WeightedGoal, goal
from analysis.decision.winner import choose
from analysis.surfaces.optima import Lattice
from analysis.surfaces.surface import fit_languages
from analysis.table import table as tables
from sweep.study import InputError, Objective

KNOWN = Known()  # uncoupled: the best LR is 1e-4 at every ALMR and for every goal
LANGUAGES = ("original", "additional")


@pytest.fixture(scope="module")
def table():
    return measure(KNOWN, grid(6, 7), noise=0.002).assign(base_loss_original=3.4)


@pytest.fixture(scope="module")
def lattice(table) -> Lattice:
    return Lattice.of(fit_languages(table, LANGUAGES), table["almr"].to_numpy(), table["lr"].to_numpy())


def winner_of(aim, lattice, level=0.9):
    return choose(aim.optima(lattice), lattice, level)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_weights_move_the_winner_between_the_languages_own_optima(lattice, share):
    # One draw in ten misses its 90 % interval, and here is one draw: the interval misses one in 200.
    winner = winner_of(WeightedGoal({"original": 1 - share, "additional": share}), lattice, level=0.995)
    best = 0.5 + APART * (2 * share - 1)
    assert winner.almr == pytest.approx(best, abs=0.02)
    assert winner.almr_interval.low <= best <= winner.almr_interval.high
    assert np.log(winner.lr / 1e-4) == pytest.approx(0, abs=0.1)


def test_the_objective_interval_is_that_of_a_sum_of_independent_languages(lattice):
    both = WeightedGoal({"original": 0.5, "additional": 0.5}).optima(lattice)
    sds = [lattice.sd[name] for name in LANGUAGES]
    assert both.sd == pytest.approx(np.hypot(*sds) / 2)
    assert both.draws.std(axis=0) == pytest.approx(both.sd, rel=0.25)


def test_swapped_languages_with_swapped_weights_change_nothing(lattice):
    swap = dict(zip(LANGUAGES, reversed(LANGUAGES), strict=True))
    mirrored = Lattice(
        lattice.almr,
        lattice.lr,
        *({name: part[swap[name]] for name in LANGUAGES} for part in (lattice.mean, lattice.sd, lattice.draws)),
    )
    one = winner_of(WeightedGoal({"original": 0.3, "additional": 0.7}), lattice)
    other = winner_of(WeightedGoal({"original": 0.7, "additional": 0.3}), mirrored)
    for name in ("almr", "lr", "objective", "almr_interval", "lr_interval"):
        assert getattr(one, name) == getattr(other, name)


def original_is_at_most(bound: float) -> float:
    """The highest ALMR that keeps the original language's loss at the best LR under the bound."""
    floor = LOWEST - KNOWN.curvature * APART**2
    return KNOWN.almr - APART + np.sqrt((bound - floor) / KNOWN.curvature)


def test_a_guard_that_binds_in_one_direction_puts_the_winner_on_its_border(lattice):
    """Without the guard the additional language's best is ALMR 0.8; the guard forbids all over 0.6."""
    bound = float(KNOWN.losses(0.6, 1e-4)["original"])
    assert original_is_at_most(bound) == pytest.approx(0.6)
    winner = winner_of(GuardedGoal(bound, 0.9), lattice.finer())
    assert 0.57 < winner.almr <= 0.6
    assert np.log(winner.lr / 1e-4) == pytest.approx(0, abs=0.2)
    assert winner.almr_interval.low <= 0.6 <= winner.almr_interval.high + 0.005
    kept = GuardedGoal(bound, 0.9).probability(lattice.finer())
    i = np.abs(lattice.finer().almr - winner.almr).argmin()
    assert kept[i].max() >= 0.9


class Both:
    """Two languages without uncertainty. The original's loss rises with ALMR and with LR, the additional's falls."""

    def __init__(self, name):
        self.name = name

    def predict(self, almr, lr):
        v = np.log(lr / 1e-4) / np.log(10)
        loss = 3 + 0.5 * almr**2 + 0.25 * (v + 1) ** 2 if self.name == "original" else 4 - almr - 0.5 * v
        return loss, np.full(len(almr), 1e-6)

    def sample(self, almr, lr, draws, seed):
        return np.tile(self.predict(almr, lr)[0], (draws, 1))


def test_a_guard_that_binds_in_both_directions_gives_the_constrained_optimum():
    """Least 4 - a - v / 2 on the ellipse a^2 / 2 + (v + 1)^2 / 4 = 0.25: a = v + 1 there, so a^2 = 1 / 3."""
    lattice = Lattice.of({name: Both(name) for name in LANGUAGES}, np.array([0.0, 1.0]), np.array([1e-5, 1e-3]))
    winner = winner_of(GuardedGoal(3.25, 0.9), lattice.finer())
    best = np.sqrt(1 / 3)
    loss = 4 - best - 0.5 * (best - 1)
    assert winner.almr == pytest.approx(best, abs=0.03)
    assert np.log10(winner.lr / 1e-4) == pytest.approx(best - 1, abs=0.06)
    assert winner.objective == pytest.approx(loss, abs=0.01)
    assert winner.losses["original"].mean <= 3.25


def test_a_guard_that_nothing_keeps_gives_the_safest_point(lattice):
    aim = GuardedGoal(3.0, 0.9)  # the original language's lowest is 3.455
    winner = winner_of(aim, lattice)
    assert winner.almr < 0.3  # where the original language's loss is lowest
    assert winner.losses["original"].mean == pytest.approx(lattice.mean["original"].min(), abs=0.01)
    assert (winner.almr_interval.low, winner.almr_interval.high) == pytest.approx((0.1, 0.9))


def test_a_loose_guard_is_the_additional_language_alone(lattice):
    guarded = winner_of(GuardedGoal(10.0, 0.9), lattice)
    alone = winner_of(WeightedGoal({"original": 0.0, "additional": 1.0}), lattice)
    assert (guarded.almr, guarded.lr, guarded.objective) == (alone.almr, alone.lr, alone.objective)


def test_the_fronts_ends_are_the_winners_of_each_language_alone(lattice):
    points = front(lattice, 0.9)
    assert [point.weight for point in points] == pytest.approx(list(WEIGHTS))
    for point, name in ((points[0], "original"), (points[-1], "additional")):
        alone = winner_of(WeightedGoal({name: 1.0}), lattice)
        assert (point.almr, point.lr) == (alone.almr, alone.lr)
        assert point.losses == {language: loss.mean for language, loss in alone.losses.items()}


def test_along_the_front_one_language_gains_what_the_other_loses(lattice):
    points = front(lattice, 0.9)
    original, additional = (np.array([point.losses[name] for point in points]) for name in LANGUAGES)
    assert (np.diff(original) >= -1e-4).all()
    assert (np.diff(additional) <= 1e-4).all()
    assert (np.diff([point.almr for point in points]) > 0).all()


def test_one_language_has_no_front(table):
    one = fit_languages(table, ("original",))
    assert front(Lattice.of(one, table["almr"].to_numpy(), table["lr"].to_numpy()), 0.9) == []


def test_the_goal_is_the_studys_or_equal_weights(table):
    assert goal(Objective(), table) == WeightedGoal({"original": 0.5, "additional": 0.5})
    weighed = Objective.model_validate({"weights": {"original": 3, "additional": 1}})
    assert goal(weighed, table) == WeightedGoal({"original": 0.75, "additional": 0.25})
    guard = goal(Objective(forgetting_guard_percent=5), table)
    assert guard.bound == pytest.approx(3.4 * 1.05)
    assert guard.level == 0.9


def test_each_trials_objective_is_what_the_goal_makes_of_its_losses(table):
    half = WeightedGoal({"original": 0.5, "additional": 0.5}).of_trials(table)
    assert half.to_numpy() == pytest.approx((table["loss_original"] + table["loss_additional"]) / 2)
    kept = GuardedGoal(3.6, 0.9).of_trials(table)
    assert (kept.isna() == (table["loss_original"] > 3.6)).all()
    assert 0 < kept.notna().sum() < len(table)
    assert (kept.dropna() == table["loss_additional"][kept.notna()]).all()


def test_a_guard_is_of_the_base_model_of_the_trials_that_are_fitted(table):
    """Not of records of another recipe in the same run, which may be of other text, and may be more."""
    other = table.assign(base_loss_original=4.1, excluded=tables.OTHER_RECIPE)
    mixed = pd.concat([table, other, other], ignore_index=True)
    guard = goal(Objective(forgetting_guard_percent=5), mixed)
    assert guard.bound == pytest.approx(3.4 * 1.05)
    first = table.assign(base_loss_original=[math.nan] * len(table))
    stated = pd.concat([first, other[:1].assign(excluded="failed: killed")], ignore_index=True)  # in one row alone
    assert goal(Objective(forgetting_guard_percent=5), stated).bound == pytest.approx(4.1 * 1.05)


@pytest.mark.parametrize(
    ("missing", "fix"),
    [("base_loss_original", "--base original=L"), ("loss_additional", "--columns original=")],
)
def test_a_guard_without_what_it_needs_is_refused(table, missing, fix):
    lacking = table.assign(**{missing: np.nan})
    with pytest.raises(InputError, match=f"{fix}.*, or use weights"):
        goal(Objective(forgetting_guard_percent=5), lacking)
