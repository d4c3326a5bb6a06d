import numpy as np
import pytest
from known_surfaces import LRS, Known, grid, lost, measure, scattered
from scipy.stats import norm

from analysis.fit_file.forms import FORMS, LINEAR, OFFSET
from analysis.surfaces.scale import Scale
from analysis.surfaces.surface import Surface, cross_validate, fit_languages, scales
from sweep.study import MINIMUM_TRIALS, InputError

KNOWN = Known(coupling=1.0)
BETWEEN = np.array([(a, lr) for a in (0.2, 0.55, 0.8) for lr in (2e-5, 1.2e-4, 7e-4)]).T
LOGARITHMIC = FORMS[1]


def of(table, name="original") -> Surface:
    return Surface.fit(Scale.of(table["almr"], table["lr"], table[f"loss_{name}"]))


@pytest.fixture(scope="module")
def surface() -> Surface:
    return of(measure(KNOWN, grid(5, 6), noise=0.01, seed=3))


def test_the_surface_is_the_truth_between_the_points(surface):
    mean, sd = surface.predict(*BETWEEN)
    truth = KNOWN.losses(*BETWEEN)["original"]
    assert mean == pytest.approx(truth, abs=0.015)
    assert (np.abs(mean - truth) < 3.5 * sd).all()
    assert (sd < 0.015).all()


def test_noise_is_recovered(surface):
    assert 0.006 < surface.noise([0.5], [1e-4])[0] < 0.014


def test_noise_that_grows_with_lr_is_recovered():
    growing = of(measure(KNOWN, grid(9, 9), noise=0.004, growth=1.0))
    low, high = growing.noise([0.5, 0.5], [1e-5, 1e-3])
    assert 3 < high / low < 14  # exp(2) = 7.4
    even = of(measure(KNOWN, grid(9, 9), noise=0.004))
    low, high = even.noise([0.5, 0.5], [1e-5, 1e-3])
    assert high / low < 3


def test_uncertainty_grows_away_from_the_measured_points():
    apart = [(a, lr) for a, lr in grid(5, 6) if a != 0.5]
    table = measure(KNOWN, apart)
    wavy = Surface.fit(Scale.of(table["almr"], table["lr"], table["loss_original"] + np.sin(6 * table["almr"])))
    _, sd = wavy.predict([0.3, 0.5], [1e-4, 1e-4])
    assert sd[1] > 2 * sd[0]


def test_predict_and_sample_have_the_stated_shapes(surface):
    mean, sd = surface.predict([0.2, 0.4, 0.6], [1e-4, 1e-4, 1e-4])
    assert mean.shape == sd.shape == surface.noise([0.2, 0.4, 0.6], [1e-4] * 3).shape == (3,)
    assert surface.sample([0.2, 0.4, 0.6], [1e-4] * 3, draws=7, seed=0).shape == (7, 3)


def test_samples_agree_with_predict(surface):
    almr, lr = np.array([0.15, 0.5, 0.5, 0.85]), np.array([2e-5, 1e-4, 1.1e-4, 9e-4])
    mean, sd = surface.predict(almr, lr)
    draws = surface.sample(almr, lr, draws=20_000, seed=1)
    assert draws.mean(axis=0) == pytest.approx(mean, abs=4 * sd.max() / np.sqrt(20_000))
    assert draws.std(axis=0) == pytest.approx(sd, rel=0.05)
    # Joint draws: neighbours move together, so their difference varies less than either.
    assert (draws[:, 1] - draws[:, 2]).std() < 0.5 * sd[1]


def test_a_draw_is_as_smooth_as_the_surface():
    """Roughness of a draw between neighbouring lattice points would widen the interval of the optimum."""
    steep = of(measure(Known(steepness=0.5, curvature=0.02), grid(5, 6), noise=0.001))
    lr = np.geomspace(5e-5, 2e-4, 41)
    second = np.diff(steep.sample(np.full(41, 0.5), lr, draws=50, seed=0), n=2, axis=1)
    truth = 2 * 0.5 * (np.log(4) / 40) ** 2
    assert np.median(second) == pytest.approx(truth, rel=0.2)
    assert (second > 0).mean() > 0.99


def test_samples_follow_the_seed(surface):
    one, again, other = (surface.sample([0.5], [1e-4], 5, seed) for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).all()


def left_out_by_hand(surface: Surface, i: int) -> tuple[float, float]:
    """Mean and sd of trial i from the others, member by member, then mixed."""
    found = []
    rest = np.arange(len(surface.scale.loss)) != i
    for scale, process, _ in surface.members:
        x, y = scale.inputs(scale.almr, scale.lr), scale.targets
        covariance = process.kernel_(x) + np.diag(np.broadcast_to(process.alpha, len(y)))
        solved = np.linalg.solve(covariance[np.ix_(rest, rest)], np.stack([y[rest], covariance[rest, i]], axis=1))
        mean, variance = covariance[i, rest] @ solved[:, 0], covariance[i, i] - covariance[i, rest] @ solved[:, 1]
        found.append((scale.nats(mean), scale.nats_of_sd(np.sqrt(variance), mean)))
    means, deviations = np.array(found).T
    mean = surface.weights @ means
    return float(mean), float(np.sqrt(surface.weights @ (deviations**2 + means**2) - mean**2))


def test_leave_one_out_is_a_refit_without_each_trial_at_fixed_kernel_parameters(surface):
    mean, sd = surface.leave_one_out()
    for i in (0, 7, 14, 29):
        expected_mean, expected_sd = left_out_by_hand(surface, i)
        assert mean[i] == pytest.approx(expected_mean, abs=1e-6)
        assert sd[i] == pytest.approx(expected_sd, rel=1e-4)


def test_cross_validation_counts_the_errors_of_the_refits(surface):
    predicted, sd = np.array([left_out_by_hand(surface, i) for i in range(30)]).T
    error = surface.scale.loss - predicted
    found = cross_validate(surface)
    assert found.plain_rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4)
    inside = {f"{p:g}": np.mean(np.abs(error) < norm.ppf((1 + p) / 2) * sd) for p in (0.5, 0.8, 0.9)}
    assert found.coverage == pytest.approx(inside, abs=1e-9)


def test_a_noisy_trial_at_the_divergence_edge_counts_little_in_the_error():
    steep = cross_validate(of(measure(KNOWN, grid(9, 9), noise=0.004, growth=2.0)))
    assert steep.rmse < 0.5 * steep.plain_rmse


def test_too_few_trials_are_refused():
    few = measure(KNOWN, grid(5, 6)[: MINIMUM_TRIALS - 1])
    with pytest.raises(InputError, match=rf"{len(few)} usable trials: a surface needs {MINIMUM_TRIALS} or more"):
        of(few)


def test_equal_losses_make_a_flat_surface():
    almr, lr = np.array(grid(5, 6)).T
    mean, sd = Surface.averaged(scales(almr, lr, np.full(30, 3.0))).predict([0.2, 0.9], [1e-5, 5e-4])
    assert mean == pytest.approx([3.0, 3.0], abs=1e-6)
    assert np.isfinite(sd).all()


@pytest.mark.parametrize(
    ("form", "loss"),
    [
        (LINEAR, lambda a: 2 * (a - 0.4) ** 2),
        (LOGARITHMIC, lambda a: 0.2 * -np.log(1 + OFFSET - a)),
        (FORMS[2], lambda a: -0.2 * np.log(a + OFFSET)),
        (FORMS[3], lambda a: -0.2 * np.log(1 + OFFSET - a) - 0.3 * np.log(a + OFFSET)),
    ],
    ids=[form.name for form in FORMS],
)
def test_the_form_that_a_loss_is_smooth_in_is_chosen(form, loss):
    random = np.random.default_rng(0)
    almr, lr = random.uniform(0, 1, 80), np.exp(random.uniform(*np.log(LRS), 80))
    noise = 0.002 * random.standard_normal(80)
    every = scales(almr, lr, 3 + loss(almr) + 0.03 * np.log(lr / 1e-4) ** 2 + noise)
    assert Surface.averaged(every).scale.form == form


def test_forms_rise_with_almr_and_are_finite_at_both_ends():
    for form in FORMS:
        values = form.of(np.linspace(0, 1, 11))
        assert np.isfinite(values).all()
        assert (np.diff(values) > 0).all()


@pytest.mark.parametrize(
    ("almrs", "left_out"),
    [(np.linspace(0.05, 0.95, 9), ()), (np.linspace(0.05, 0.95, 5), FORMS[1:3]), ([0.1, 0.2, 0.3, 0.9], FORMS[1:])],
)
def test_a_form_whose_trials_leave_over_half_of_it_empty_is_no_candidate(almrs, left_out):
    """A surface dips in such a gap, where nothing contradicts it."""
    almr, lr = (axis.ravel() for axis in np.meshgrid(almrs, np.geomspace(*LRS, 4)))
    forms = {scale.form for scale in scales(almr, lr, (almr - 0.5) ** 2)}
    assert forms == {form for form in FORMS if form not in left_out}


def test_two_almrs_leave_the_form_plain():
    table = measure(KNOWN, grid(2, 6))
    every = scales(table["almr"], table["lr"], table["loss_original"])
    assert {scale.form for scale in every} == {LINEAR}


def test_each_language_has_its_own_surface_of_the_rows_that_are_used():
    table = measure(KNOWN, grid(5, 6))
    surfaces = fit_languages(lost(table, [0, 7], "failed"), ("original", "additional"))
    assert {len(surface.scale.loss) for surface in surfaces.values()} == {28}
    for name, surface in surfaces.items():
        assert surface.predict([0.5], [1e-4])[0] == pytest.approx(KNOWN.losses(0.5, 1e-4)[name], abs=0.01)


def test_more_trials_than_kernel_parameters_need_still_all_count():
    """Kernel parameters are found from a part of many trials; the surface is conditioned on all."""
    table = measure(KNOWN, scattered(400, 0), noise=0.02)
    many, few = of(table), of(table.iloc[:100])
    assert len(many.members[0].process.y_train_) == 400
    _, sd_of_many = many.predict(*BETWEEN)
    _, sd_of_few = few.predict(*BETWEEN)
    assert sd_of_many.mean() < 0.75 * sd_of_few.mean()
    again = of(table)
    assert (again.predict(*BETWEEN)[0] == many.predict(*BETWEEN)[0]).all()
