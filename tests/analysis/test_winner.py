import numpy as np
import pytest

from analysis.winner import Optima

ALMRS, LRS = np.linspace(0.1, 0.9, 5), np.geomspace(1e-5, 1e-3, 6)


class Known:
    """A surface that is known but for the place of its valley, which has a normal error of sd `shift_sd` in ln LR."""

    def __init__(self, almr=0.5, lr=1.1e-4, coupling=1.0, shift_sd=0.0):
        self.almr, self.lr, self.coupling, self.shift_sd = almr, lr, coupling, shift_sd

    def _loss(self, almr, lr, shift=0.0):
        valley = np.log(np.asarray(lr) / self.lr) - self.coupling * (np.asarray(almr) - self.almr) - shift
        return 3 + (np.asarray(almr) - self.almr) ** 2 + 0.05 * valley**2

    def predict(self, almr, lr):
        return self._loss(almr, lr), np.full(len(almr), 0.01)

    def sample(self, almr, lr, draws, seed):
        shifts = self.shift_sd * np.random.default_rng(seed).standard_normal((draws, 1))
        return self._loss(almr, lr, shifts)


def test_the_minimum_is_the_winner():
    winner = Optima.of(Known(), ALMRS, LRS, level=0.9).winner()
    assert winner.almr == pytest.approx(0.5, abs=0.02)
    assert np.log(winner.lr / 1.1e-4) == pytest.approx(0, abs=0.08)
    assert winner.objective == pytest.approx(3, abs=1e-3)
    assert winner.at_edge == ()


@pytest.mark.parametrize(("almr", "lr"), [(0.484, 1.03e-4), (0.517, 1.13e-4), (0.35, 4e-5)])
def test_a_sharp_optimum_between_lattice_points_is_inside_its_interval(almr, lr):
    winner = Optima.of(Known(almr, lr, coupling=0), ALMRS, LRS, level=0.9).winner()
    assert winner.almr_interval.low < almr < winner.almr_interval.high
    assert winner.lr_interval.low < lr < winner.lr_interval.high
    assert winner.almr_interval.high - winner.almr_interval.low < 0.05


def test_the_interval_of_lr_is_the_spread_of_the_draws_optima():
    winner = Optima.of(Known(shift_sd=0.4, coupling=0), ALMRS, LRS, level=0.9).winner()
    step = np.log(1e-3 / 1e-5) / 60
    width = np.log(winner.lr_interval.high / winner.lr_interval.low)
    assert width == pytest.approx(2 * 1.645 * 0.4 + step, rel=0.15)


def test_a_higher_level_gives_a_wider_interval():
    narrow, wide = (Optima.of(Known(shift_sd=0.4), ALMRS, LRS, level).winner().lr_interval for level in (0.5, 0.95))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
    ("almr", "lr", "edges"),
    [(0.5, 1e-2, ("lr",)), (0.5, 1e-7, ("lr",)), (1.5, 1e-4, ("almr",)), (-1, 1, ("almr", "lr"))],
)
def test_an_optimum_outside_the_grid_stays_inside_and_says_so(almr, lr, edges):
    winner = Optima.of(Known(almr, lr, coupling=0), ALMRS, LRS, level=0.9).winner()
    assert winner.at_edge == edges
    assert 0.1 <= winner.almr_interval.low <= winner.almr <= winner.almr_interval.high <= 0.9
    assert 1e-5 <= winner.lr_interval.low <= winner.lr <= winner.lr_interval.high <= 1.0001e-3


@pytest.mark.parametrize("coupling", [-1.0, 0.0, 1.5])
def test_the_curve_and_the_coupling_are_recovered(coupling):
    optima = Optima.of(Known(coupling=coupling, shift_sd=0.1), ALMRS, LRS, level=0.9)
    for point in optima.curve():
        assert np.log(point.lr / 1.1e-4) == pytest.approx(coupling * (point.almr - 0.5), abs=0.08)
        assert point.lr_low < point.lr < point.lr_high
        assert not point.at_edge
    found = optima.coupling()
    assert found.slope == pytest.approx(coupling, abs=0.05)
    assert found.interval.low - 0.02 <= coupling <= found.interval.high + 0.02
    assert found.probability == (np.sign(coupling) + 1) / 2


def test_one_almr_or_one_lr_has_no_coupling_and_no_edge():
    one_almr = Optima.of(Known(), np.full(6, 0.5), LRS, level=0.9)
    one_lr = Optima.of(Known(), ALMRS, np.full(5, 1.1e-4), level=0.9)
    assert one_almr.coupling() is None
    assert one_lr.coupling() is None
    assert one_almr.winner().at_edge == one_lr.winner().at_edge == ()
    assert one_almr.winner().almr_interval.low == one_almr.winner().almr_interval.high == 0.5
    assert len(one_almr.curve()) == 1
