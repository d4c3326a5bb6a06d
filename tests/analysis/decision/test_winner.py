from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_surfaces import ALMRS, LOWEST, LRS, Known

from analysis.decision.objectives import WeightedGoal
from analysis.decision.winner import choose, region
from analysis.surfaces.optima import Lattice, LatticeSize, Optima, refined

MEAN = WeightedGoal({"original": 0.5, "additional": 0.5})


class Certain:
    """One language of a known surface, without uncertainty but for its valley's place: sd `shift` in ln LR."""

    def __init__(self, known: Known, name: str, shift: float = 0.0) -> None:
        self.known, self.name, self.shift = known, name, shift

    def predict(self, almr, lr):
        return self.known.losses(almr, lr)[self.name], np.full(len(almr), 0.01)

    def sample(self, almr, lr, draws, seed):
        # All languages shift together, whatever their streams.
        shifts = np.exp(self.shift * np.random.default_rng(0).standard_normal(draws))
        return np.stack([self.known.losses(almr, lr / shift)[self.name] for shift in shifts])


def lattice_of(known: Known, shift: float = 0.0, almrs=ALMRS, lrs=LRS) -> Lattice:
    languages = {name: Certain(known, name, shift) for name in ("original", "additional")}
    return Lattice.of(languages, np.array(almrs), np.array(lrs), size=LatticeSize(draws=300))


def winner_of(known: Known, shift: float = 0.0, level: float = 0.9, **ranges):
    lattice = lattice_of(known, shift, **ranges)
    return choose(MEAN.optima(lattice), lattice, level)


INSIDE = st.tuples(st.floats(0.15, 0.85), st.floats(np.log(2e-5), np.log(5e-4)))


@given(at=INSIDE, coupling=st.floats(-4, 4), curvature=st.floats(0.1, 2))
def test_an_optimum_between_lattice_points_is_found_in_any_valley(at, coupling, curvature):
    """In a slanting valley too: a parabola per axis would leave the optimum on the lattice."""
    known = Known(at[0], float(np.exp(at[1])), coupling, curvature)
    winner = winner_of(known)
    almr_step, lr_step = np.ptp(ALMRS) / 24, np.log(LRS[1] / LRS[0]) / 40
    assert winner.almr == pytest.approx(known.almr, abs=0.05 * almr_step)
    assert np.log(winner.lr / known.lr) == pytest.approx(0, abs=0.05 * lr_step)
    assert winner.at_edge == ()


def test_the_winner_has_the_objective_and_the_losses_of_its_point():
    winner = winner_of(Known())
    assert winner.objective == pytest.approx(LOWEST, abs=1e-3)
    for name, loss in Known().losses(0.5, 1e-4).items():
        assert winner.losses[name].mean == pytest.approx(float(loss), abs=5e-3)
        assert winner.losses[name].interval.low <= winner.losses[name].mean <= winner.losses[name].interval.high
    # Two independent languages of sd 0.01 each.
    assert winner.objective_interval.high - winner.objective == pytest.approx(1.645 * 0.01 / np.sqrt(2), rel=1e-3)


@given(at=INSIDE, coupling=st.floats(-4, 4))
def test_the_losses_are_those_of_the_winner_between_lattice_points(at, coupling):
    """At the lattice's nearest point a language's loss is another one: its interval left out that of the winner."""
    known = Known(at[0], float(np.exp(at[1])), coupling)
    winner = winner_of(known)
    for name, loss in known.losses(np.array(winner.almr), np.array(winner.lr)).items():
        assert winner.losses[name].mean == pytest.approx(float(loss), abs=2e-4)
    assert winner.objective == pytest.approx(np.mean([one.mean for one in winner.losses.values()]), abs=1e-9)


def test_beside_what_a_guard_forbids_the_losses_are_those_of_the_lowest_point():
    mean = np.add.outer((np.arange(7) - 3.3) ** 2, (np.arange(9) - 4.4) ** 2)
    free = Optima(np.linspace(0, 1, 7), np.geomspace(1e-5, 1e-3, 9), mean, mean, mean[None])
    assert free.at_best(mean) == pytest.approx(0, abs=1e-9)
    assert free.at_best(np.stack([mean, 1 + 2 * mean])) == pytest.approx([0, 1], abs=1e-9)
    mean = mean.copy()
    mean[2, 3] = np.inf
    assert replace(free, mean=mean).at_best(free.sd) == free.sd[3, 4]


def test_refinement_is_exact_on_a_paraboloid_and_stays_on_the_edge():
    i, j = np.indices((9, 9))
    slanting = (i - 4.4) ** 2 + (j - 3.3) ** 2 + 1.8 * (i - 4.4) * (j - 3.3)
    rising = (i - 4.2) ** 2 + (j + 3.0) ** 2
    found = np.array(refined(np.stack([slanting, rising]).astype(float)))
    assert found == pytest.approx(np.array([[4.4, 4.2], [3.3, 0.0]]), abs=1e-9)


def test_refinement_never_leaves_the_lattice_nor_stumbles_over_what_is_forbidden():
    random = np.random.default_rng(0)
    losses = random.standard_normal((200, 6, 7))
    i, j = refined(losses)
    assert ((i >= 0) & (i <= 5) & (j >= 0) & (j <= 6)).all()
    losses[random.random(losses.shape) < 0.3] = np.inf
    assert np.isfinite(refined(losses)).all()


def test_the_interval_of_lr_is_the_spread_of_the_draws_optima():
    winner = winner_of(Known(), shift=0.4)
    width = np.log(winner.lr_interval.high / winner.lr_interval.low)
    assert width == pytest.approx(2 * 1.645 * 0.4, rel=0.15)


def test_a_higher_level_gives_a_wider_interval_and_region():
    narrow, wide = (winner_of(Known(), 0.4, level).lr_interval for level in (0.5, 0.95))
    assert wide.low < narrow.low < narrow.high < wide.high
    optima = MEAN.optima(lattice_of(Known(), 0.4))
    assert region(optima, 0.5).share < region(optima, 0.95).share


@pytest.mark.parametrize(
    ("almr", "lr", "edges"),
    [
        (0.5, 1e-2, ("lr",)),
        (0.5, 1e-7, ("lr",)),
        (1.5, 1e-4, ("almr",)),
        (-0.5, 1e-4, ("almr",)),
        (-1, 1, ("almr", "lr")),
        (0.1, 1e-4, ("almr",)),
        (0.5, 1e-3, ("lr",)),
    ],
)
def test_an_optimum_on_an_edge_or_outside_stays_inside_and_says_so(almr, lr, edges):
    winner = winner_of(Known(almr, lr))
    assert winner.at_edge == edges
    assert ALMRS[0] <= winner.almr_interval.low <= winner.almr <= winner.almr_interval.high <= ALMRS[1]
    assert LRS[0] / 1.0001 <= winner.lr_interval.low <= winner.lr <= winner.lr_interval.high <= LRS[1] * 1.0001
    assert {name for name, share in winner.edge_probability.items() if share == 1} == set(edges)


def test_the_edge_probability_is_the_share_of_draws_on_an_end():
    winner = winner_of(Known(lr=1e-3 / np.e**0.4), shift=0.4)  # the end is one sd away
    assert winner.at_edge == ()
    assert winner.edge_probability["lr"] == pytest.approx(0.16, abs=0.06)


@pytest.mark.parametrize(("name", "ranges"), [("almr", {"almrs": [0.5]}), ("lr", {"lrs": [1e-4]})])
def test_one_value_of_a_hyper_parameter_has_no_edge_and_no_region(name, ranges):
    winner = winner_of(Known(), **ranges)
    assert winner.at_edge == ()
    assert winner.edge_probability[name] == 0
    found = getattr(winner, f"{name}_interval")
    assert found.low == pytest.approx(found.high)
    assert region(MEAN.optima(lattice_of(Known(), **ranges)), 0.9) is None


def drawn(optima_at: np.ndarray) -> Optima:
    """Draws whose optima lie at given (ALMR, ln LR): sharp bowls."""
    a, r = np.linspace(*ALMRS, 25), np.geomspace(*LRS, 41)
    bowls = ((a[None, :, None] - optima_at[:, 0, None, None]) / 0.8) ** 2
    bowls = bowls + ((np.log(r)[None, None] - optima_at[:, 1, None, None]) / 4.6) ** 2
    return Optima(a, r, bowls.mean(axis=0), np.ones((25, 41)), bowls)


def test_the_region_holds_as_many_optima_as_it_says_and_follows_their_slant():
    random = np.random.default_rng(1)
    almr = 0.5 + 0.08 * random.standard_normal(500)
    log_lr = np.log(1e-4) + 4 * (almr - 0.5) + 0.05 * random.standard_normal(500)
    found = region(drawn(np.stack([almr, log_lr], axis=1)), 0.9)
    almrs = np.array([row.almr for row in found.rows])
    low, high = (np.interp(almr, almrs, np.log([getattr(row, n) for row in found.rows])) for n in ("lr_low", "lr_high"))
    inside = (low <= log_lr) & (log_lr <= high) & (almr >= almrs.min()) & (almr <= almrs.max())
    assert 0.86 <= inside.mean() <= 0.96
    # A box of the two intervals would be several times as large.
    box = (2 * 1.645) ** 2 * (0.08 / 0.8) * (4 * 0.08 / 4.6)
    assert found.share < 0.6 * box


def test_the_region_of_two_separate_optima_is_smaller_than_what_holds_both():
    random = np.random.default_rng(2)
    centres = np.where(random.random((500, 1)) < 0.5, [[0.25, np.log(3e-5)]], [[0.75, np.log(3e-4)]])
    found = region(drawn(centres + [0.02, 0.1] * random.standard_normal((500, 2))), 0.9)
    assert found.share < 0.15
    assert not any(0.4 < row.almr < 0.6 for row in found.rows)


@pytest.mark.parametrize(("kept", "has_region"), [(0, False), (1, False), (2, False), (3, True)])
def test_where_a_guard_leaves_hardly_any_draw_there_is_no_region_and_no_error(kept, has_region):
    optima = drawn(np.array([[0.3, np.log(5e-5)], [0.5, np.log(1e-4)], [0.6, np.log(1.1e-4)], [0.4, np.log(9e-5)]]))
    optima.draws[kept:] = np.inf
    assert (region(optima, 0.9) is not None) == has_region
