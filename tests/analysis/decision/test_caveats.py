"""What a fit says of itself beside its refusals: each warning where it is due, and none on a clean fit."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from known_surfaces import Known, measure

from analysis.decision.case import Case
from analysis.decision.findings import caveats
from analysis.fit.fit import fit_study, fit_table
from analysis.table import table as tables
from sweep.study import Objective

pytestmark = pytest.mark.slow


def case(fit, **changed):
    """The case of a fit, with parts of it changed."""
    file = fit.file
    whole = Case(
        table=fit.table,
        objective=fit.study.objective,
        study=fit.study,
        goal=fit.goal,
        surfaces=fit.surfaces,
        lattice=fit.lattice,
        optima=fit.optima,
        winner=file.winner,
        region=file.region,
        curve=file.curve,
        edge=file.divergence,
        checks=file.cross_validation,
    )
    return replace(whole, **changed)


def only(findings, code):
    [found] = [finding for finding in findings if finding.code == code]
    assert len(found.next) <= 6
    return found


def codes(findings):
    return {finding.code for finding in findings}


def records(rows):
    return tables.from_records(rows)


@pytest.fixture(scope="module")
def clean(make_bowl, make_study):
    return fit_study(make_study(), tables.from_records(make_bowl()))


def test_a_clean_fit_has_nothing_to_say(clean):
    assert clean.file.refusals == clean.file.warnings == []
    assert caveats.find(case(clean)) == []


def test_trials_that_are_not_used_are_counted(fitted):
    warnings = fitted.file.warnings
    assert only(warnings, "failed").message.startswith("1 trial failed: not in the fit, run the study again")
    assert [(trial.almr, trial.lr) for trial in only(warnings, "failed").next] == [(0.7, 3e-3)]
    assert only(warnings, "diverged").message.startswith("1 trial diverged")
    assert only(warnings, "unusable").message.startswith("1 trial not used: see the column `excluded`")


def test_an_unfinished_run_names_what_is_missing(make_bowl, make_study):
    study, records = make_study(), make_bowl()
    lost = records[7]
    table = tables.from_records([record for record in records if record is not lost])
    found = only(fit_study(study, table).file.warnings, "missing")
    assert "1 of the grid's 30 trials have no record" in found.message
    assert [(trial.almr, trial.lr) for trial in found.next] == [(lost.almr, lost.lr)]


def test_rows_that_the_study_does_not_ask_for_are_counted(make_bowl, make_study, make_record):
    other = [make_record(0.33, 1e-4), make_record(0.34, 1e-4, fingerprint="another")]
    table = tables.mark_foreign(tables.from_records([*make_bowl(), *other]), make_study())
    found = only(fit_study(make_study(), table).file.warnings, "foreign")
    assert found.message.startswith("2 trials not used: not of this study")


def test_a_table_of_the_users_own_needs_no_study(make_bowl, make_record):
    table = tables.from_records([*make_bowl(), make_record(0.7, 3e-3, status="failed")])
    found = only(fit_table(table, Objective(), "mine").file.warnings, "failed")
    assert "the study" not in found.message


def test_few_trials_are_said_to_be_few(make_bowl, make_study):
    grid = {"almrs": (0.2, 0.5, 0.8), "lrs": (3e-5, 1e-4, 3e-4)}
    few = fit_study(make_study(), records(make_bowl(**grid))).file.warnings
    assert "9 usable trials are few" in only(few, "few").message
    grid |= {"almrs": (0.1, 0.3, 0.6, 0.9), "lrs": (1e-5, 3e-5, 1e-4, 3e-4)}
    assert "few" not in codes(fit_study(make_study(), records(make_bowl(**grid))).file.warnings)


def test_an_interval_that_reaches_an_end_is_a_warning_and_what_lies_beyond_is_proposed(clean):
    lowest = float(clean.optima.lr[0])
    interval = clean.file.winner.lr_interval.model_copy(update={"low": lowest})
    winner = clean.file.winner.model_copy(update={"lr_interval": interval})
    found = only(caveats.find(case(clean, winner=winner)), "interval")
    assert "interval of LR reaches 1e-5, the lowest tried" in found.message
    assert all(trial.lr < lowest for trial in found.next)


def test_an_end_that_is_refused_is_not_warned_of_as_well(clean):
    lowest = float(clean.optima.lr[0])
    interval = clean.file.winner.lr_interval.model_copy(update={"low": lowest})
    pinned = {"lr_interval": interval, "at_edge": ("lr",), "lr": lowest}
    winner = clean.file.winner.model_copy(update=pinned)
    assert "interval" not in codes(caveats.find(case(clean, winner=winner)))


@pytest.mark.parametrize(("almrs", "weights", "words"), [
    ((0, 0.2, 0.4, 0.6), {"original": 1, "additional": 0}, "training without any additional text"),
    ((0.4, 0.6, 0.8, 1), {"original": 0, "additional": 1}, "training without any original text"),
])  # fmt: skip
def test_almr_0_and_1_are_ends_with_nothing_beyond(make_bowl, make_study, almrs, weights, words):
    """Each language is best at its own end: the bowl is tilted until it is so."""
    tilt = 1.0 if almrs[0] == 0 else -1.0
    table = records(make_bowl(almrs=almrs))
    for name in ("loss_original", "loss_additional"):
        table[name] += tilt * table["almr"]
    file = fit_study(make_study(objective={"weights": weights}), table).file
    assert words in only(file.warnings, "natural_end").message
    assert not [refusal for refusal in file.refusals if "the best ALMR" in refusal.message]


def test_a_minimum_far_below_every_trial_is_warned_of(make_study, make_record):
    """Two steep walls with nothing measured between them: the surface dips where no trial is."""
    rows = [
        make_record(a, lr, loss={"original": 3.0 + h + s / 1000, "additional": 3.0 + h + s / 1000}, seed=s)
        for a, h in ((0.1, 0.4), (0.15, 0.2), (0.85, 0.2), (0.9, 0.4))
        for lr in (8e-5, 1e-4, 1.2e-4)
        for s in (0, 1)
    ]
    file = fit_study(make_study(), records(rows)).file
    found = only(file.warnings, "invented")
    assert "below the best trial, " in found.message
    assert (found.next[0].almr, found.next[0].lr) == pytest.approx((file.winner.almr, file.winner.lr), rel=0.01)


def test_an_lr_twice_the_winners_that_no_trial_tested_is_proposed(make_bowl, make_study):
    lrs = (1e-5, 2.5e-5, 6e-5, 1.7e-4)
    file = fit_study(make_study(), records(make_bowl(lrs=lrs))).file
    found = only(file.warnings, "untested")
    assert [trial.lr for trial in found.next] == [pytest.approx(2 * file.winner.lr, rel=0.01)]


def test_an_error_far_over_the_noise_is_a_misfit_only_where_it_matters(clean):
    def misfits(rmse):
        checks = {name: check.model_copy(update={"rmse": rmse}) for name, check in clean.file.cross_validation.items()}
        return [f.message for f in caveats.find(case(clean, checks=checks)) if f.code == "misfit"]

    assert misfits(0.015) == []
    original, additional = misfits(0.03)
    assert original.startswith("the original surface misses left-out trials by 0.030 nats, ")
    assert additional.startswith("the additional surface misses")


@pytest.mark.parametrize(("inside", "warned"), [(30, False), (25, False), (21, True)])
def test_bands_that_hold_too_few_trials_are_warned_of(clean, inside, warned):
    """Of 30 trials 27 are expected; 21 or fewer happen once in 500."""
    checks = {
        name: check.model_copy(update={"coverage": check.coverage | {"0.9": inside / 30}})
        for name, check in clean.file.cross_validation.items()
    }
    found = [f for f in caveats.find(case(clean, checks=checks)) if f.code == "calibration"]
    assert len(found) == 2 * warned


@pytest.mark.parametrize("alike", [False, True])
def test_losses_whose_noise_goes_together_are_warned_of(alike):
    """The fit takes them for independent: with the same noise the objective's error is the root of 2 times as large."""
    table = measure(Known(), itertools.product(np.linspace(0.1, 0.9, 5), np.geomspace(1e-5, 1e-3, 6)), noise=0.0)
    noise = 0.005 * np.random.default_rng(3).standard_normal((2, len(table)))
    table["loss_original"] += noise[0]
    table["loss_additional"] += noise[0 if alike else 1]
    found = [one.message for one in fit_table(table).file.warnings if one.code == "calibration"]
    assert len(found) == alike
    assert not alike or found[0].endswith("read the intervals of the objective and of the winner as 1.4 x as wide")


def test_a_curve_that_runs_into_an_end_is_only_a_bound_there(make_bowl, make_study):
    """With a strong coupling the best LR leaves the measured range at the low ALMRs."""
    lrs = tuple(np.geomspace(6e-5, 1e-3, 5))
    file = fit_study(make_study(), records(make_bowl(lrs=lrs, coupling=3.0))).file
    assert file.refusals == []
    found = only(file.warnings, "curve")
    assert found.message.startswith("from ALMR 0.10 to ")
    assert "the best LR there is 6e-5, the lowest tried" in found.message
    assert all(trial.lr < 6e-5 for trial in found.next)
    assert found.next[0].almr in (0.1, 0.3)


def test_an_unknown_coupling_is_warned_of(make_bowl, make_study):
    file = fit_study(make_study(), records(make_bowl(lrs=(3e-4, 6e-4, 1e-3, 2e-3)))).file
    assert file.coupling is None
    assert "coupling" in codes(file.warnings)


def test_a_warning_names_the_studys_own_languages(clean):
    corpora = {
        "original": {"embedded": "shakespeare", "language": "English"},
        "additional": {"embedded": "three-kingdoms", "language": "Chinese"},
    }
    study = type(clean.study).model_validate(clean.study.model_dump() | {"corpora": corpora})
    checks = {n: check.model_copy(update={"rmse": 0.03}) for n, check in clean.file.cross_validation.items()}
    found = [f.message for f in caveats.find(case(clean, checks=checks, study=study)) if f.code == "misfit"]
    assert [message.split(" surface")[0] for message in found] == ["the English", "the Chinese"]
