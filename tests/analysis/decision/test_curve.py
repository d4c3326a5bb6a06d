import numpy as np
import pytest
from known_surfaces import ALMRS, LRS, Known

from analysis.decision.curve import best_almrs, best_lrs, coupling
from analysis.surfaces.optima import Optima

A, R = np.linspace(*ALMRS, 25), np.geomspace(*LRS, 41)
GRID = np.meshgrid(A, R, indexing="ij")


def optima_of(known: Known, shift: float = 0.1, tilt: float = 0.0, draws: int = 400) -> Optima:
    """Draws that differ in the place of the valley by sd `shift` in ln LR and in its slope by sd `tilt`."""
    random = np.random.default_rng(0)
    almr, lr = GRID
    moved = shift * random.standard_normal(draws) + tilt * (almr[..., None] - 0.5) * random.standard_normal(draws)
    drawn = known.mean(almr[..., None], lr[..., None] * np.exp(-moved))
    return Optima(A, R, known.mean(almr, lr), np.full(almr.shape, 0.01), np.moveaxis(drawn, -1, 0))


@pytest.mark.parametrize("slope", [-1.0, 0.0, 1.5])
def test_the_curve_and_the_coupling_are_recovered(slope):
    known = Known(coupling=slope)
    optima = optima_of(known, tilt=0.1)
    for point in best_lrs(optima, 0.9):
        assert np.log(point.lr / known.best_lr(point.almr)) == pytest.approx(0, abs=0.02)
        assert point.lr_low < point.lr < point.lr_high
        assert not point.at_edge
    found = coupling(optima, 0.9)
    assert found.slope == pytest.approx(slope, abs=0.05)
    assert found.interval.low < slope < found.interval.high
    assert found.form == "ALMR" or slope == 0
    assert (found.almr_low, found.almr_high) == pytest.approx(ALMRS)
    assert found.straight


def test_the_band_of_the_curve_is_the_spread_of_the_draws():
    for point in best_lrs(optima_of(Known(), shift=0.3), 0.9):
        assert np.log(point.lr_high / point.lr_low) == pytest.approx(2 * 1.645 * 0.3, rel=0.15)


def test_the_best_almr_at_each_lr_is_recovered():
    known = Known(coupling=2.0)
    for point in best_almrs(optima_of(known, shift=0.05), 0.9):
        # d/d almr of curvature (almr - almr*)^2 + steepness (ln(lr / lr*) - coupling (almr - almr*))^2
        pull = known.steepness * known.coupling
        best = known.almr + pull * np.log(point.lr / known.lr) / (known.curvature + pull * known.coupling)
        assert point.almr == pytest.approx(best, abs=0.005)
        assert point.almr_low <= point.almr <= point.almr_high


def test_the_p_value_and_the_probability_are_those_of_the_draws():
    clear, none = (coupling(optima_of(Known(coupling=c), tilt=0.3), 0.9) for c in (1.5, 0.0))
    assert clear.probability == 1
    assert clear.p_value == pytest.approx(1 / 400)  # no less than so many draws can say
    assert 0.4 < none.probability < 0.6
    assert none.p_value > 0.8
    weak = coupling(optima_of(Known(coupling=0.3), tilt=0.3), 0.9)
    assert weak.p_value == pytest.approx(2 * (1 - weak.probability))
    assert weak.p_value == pytest.approx(0.32, abs=0.1)  # one sd from zero


def test_a_reversed_slope_has_the_opposite_sign_and_the_same_p_value():
    up, down = (coupling(optima_of(Known(coupling=c), tilt=0.5), 0.9) for c in (0.8, -0.8))
    assert up.slope == pytest.approx(-down.slope, abs=0.1)
    assert up.probability == pytest.approx(1 - down.probability, abs=0.1)


def test_draws_that_agree_on_no_slope_at_all_are_no_evidence_of_one():
    found = coupling(optima_of(Known(), shift=0.2, tilt=0.0), 0.9)
    assert found.slope == pytest.approx(0, abs=1e-9)
    assert found.p_value > 0.9


def test_almrs_whose_best_lr_is_a_bound_do_not_pull_the_slope_to_zero():
    """At the highest ALMRs the best LR lies above the range."""
    steep = Known(almr=0.3, lr=2e-4, coupling=5.0)
    optima = optima_of(steep, shift=0.05)
    assert any(point.at_edge for point in best_lrs(optima, 0.9))
    found = coupling(optima, 0.9)
    assert found.slope == pytest.approx(5.0, abs=0.1)
    assert found.almr_high < 0.65


@pytest.mark.parametrize("lr", [1e-6, 1e-2])
def test_a_best_lr_outside_the_range_everywhere_leaves_the_coupling_unknown(lr):
    optima = optima_of(Known(lr=lr))
    assert coupling(optima, 0.9) is None
    assert all(point.at_edge for point in best_lrs(optima, 0.9))


def test_a_best_lr_inside_over_few_almrs_leaves_the_coupling_unknown():
    assert coupling(optima_of(Known(coupling=40.0), shift=0.05), 0.9) is None


def test_a_curve_that_a_line_does_not_follow_says_so():
    almr, lr = GRID
    bend = 1e-4 * np.exp(np.where(almr < 0.5, 0, 6 * (almr - 0.5)) - 0.5)
    random = np.random.default_rng(0)
    shifts = np.exp(0.05 * random.standard_normal(400))
    drawn = 0.03 * np.log(lr / bend / shifts[:, None, None]) ** 2
    optima = Optima(A, R, 0.03 * np.log(lr / bend) ** 2, np.full(lr.shape, 0.01), drawn)
    assert not coupling(optima, 0.9).straight


def test_one_almr_or_one_lr_has_no_coupling():
    one = optima_of(Known())
    assert coupling(Optima(A[:1], R, one.mean[:1], one.sd[:1], one.draws[:, :1]), 0.9) is None
    single = Optima(A, R[:1], one.mean[:, :1], one.sd[:, :1], one.draws[:, :, :1])
    assert coupling(single, 0.9) is None
    assert not any(point.at_edge for point in best_lrs(single, 0.9))


def test_where_the_objective_allows_nothing_the_curve_has_no_point():
    optima = optima_of(Known())
    optima.mean[:5], optima.draws[:, :5] = np.inf, np.inf
    assert [point.almr for point in best_lrs(optima, 0.9)] == pytest.approx(list(A[5:]))
    assert len(best_almrs(optima, 0.9)) == len(R)
