import numpy as np
import pytest

from analysis import table as tables
from analysis.fit import FitFile, fit_run, fit_table
from sweep.study import InputError


def test_a_known_optimum_is_recovered_and_inside_every_interval(fitted):
    winner, coupling = fitted.file.winner, fitted.file.coupling
    assert winner.almr == pytest.approx(0.5, abs=0.04)
    assert np.log(winner.lr / 1.1e-4) == pytest.approx(0, abs=0.12)
    assert winner.objective == pytest.approx(3.545, abs=0.005)
    assert winner.objective_interval.low < 3.545 < winner.objective_interval.high
    assert winner.almr_interval.low < 0.5 < winner.almr_interval.high
    assert winner.lr_interval.low < 1.1e-4 < winner.lr_interval.high
    assert coupling.interval.low < 1.0 < coupling.interval.high
    assert coupling.probability > 0.99


def test_noise_and_leave_one_out_error_are_those_of_the_trials(fitted):
    for language in ("original", "additional"):
        assert 0.0015 < fitted.file.noise[language] < 0.0045
        assert 0.002 < fitted.file.cross_validation[language].rmse < 0.006
        assert 0.8 <= fitted.file.cross_validation[language].coverage <= 1


def test_without_coupling_none_is_claimed(make_bowl, make_study):
    file = fit_table(make_study(), tables.from_records(make_bowl(coupling=0.0, stream=1))).file
    assert file.coupling.interval.low < 0 < file.coupling.interval.high
    assert 0.02 < file.coupling.probability < 0.98


def test_weights_move_the_winner(make_bowl, make_study):
    objective = {"weights": {"original": 3, "additional": 1}}
    fit = fit_table(make_study(objective=objective), tables.from_records(make_bowl()))
    assert fit.file.weights == {"original": 0.75, "additional": 0.25}
    assert fit.file.winner.almr == pytest.approx(0.35, abs=0.05)


def test_a_language_without_weight_does_not_count(make_bowl, make_study):
    objective = {"weights": {"original": 0, "additional": 1}}
    fit = fit_table(make_study(objective=objective), tables.from_records(make_bowl()))
    assert fit.file.winner.almr == pytest.approx(0.8, abs=0.07)
    assert fit.file.winner.objective == pytest.approx(3.8, abs=0.01)
    assert fit.file.noise.keys() == {"original", "additional"}


def test_an_optimum_outside_the_grid_is_at_the_edge_and_warned_of(make_bowl, make_study):
    file = fit_table(make_study(), tables.from_records(make_bowl(lrs=(3e-4, 6e-4, 1e-3, 2e-3)))).file
    assert file.winner.at_edge == ("lr",)
    assert file.winner.lr == pytest.approx(3e-4)
    assert any("winner's lr is at the edge of the grid (0.0003)" in warning for warning in file.warnings)


def test_an_interval_that_reaches_the_edge_is_warned_of(make_bowl, make_study):
    # One LR below the best: the best is inside, but its interval is not.
    records = make_bowl(lrs=(8e-5, 3e-4, 1e-3), noise=0.05, stream=1)
    file = fit_table(make_study(), tables.from_records(records)).file
    assert "lr" not in file.winner.at_edge
    assert file.winner.lr_interval.low == pytest.approx(8e-5)
    assert any("interval of lr reaches the edge of the grid" in warning for warning in file.warnings)


@pytest.mark.parametrize(
    ("name", "grid"), [("almr", {"almrs": (0.5,), "seeds": (0, 1)}), ("lr", {"lrs": (1e-4,), "seeds": (0, 1)})]
)
def test_one_value_of_a_dial_is_a_warning(make_bowl, make_study, name, grid):
    file = fit_table(make_study(), tables.from_records(make_bowl(**grid))).file
    assert f"only one {name} was measured: nothing is known of any other" in file.warnings
    assert file.coupling is None
    assert np.log(file.winner.lr / 1.1e-4) == pytest.approx(0, abs=0.15)
    assert file.winner.almr == pytest.approx(0.5, abs=0.04)


def test_too_few_usable_trials_are_refused(make_bowl, make_record, make_study):
    records = make_bowl(almrs=(0.3,), lrs=(1e-5, 1e-4, 1e-3)) + [make_record(0.5, 1e-4, status="failed")] * 9
    with pytest.raises(InputError, match="3 usable trials"):
        fit_table(make_study(), tables.from_records(records))


def test_a_study_where_nothing_trained_is_refused(make_record, make_study):
    records = [make_record(0.5, lr, status="diverged") for lr in (1e-4, 1e-3)]
    with pytest.raises(InputError, match="0 usable trials"):
        fit_table(make_study(), tables.from_records(records))


def test_trials_that_are_not_used_are_counted_kept_and_warned_of(fitted):
    assert fitted.file.trials.model_dump() == {"complete": 31, "diverged": 1, "failed": 1, "excluded": 3}
    assert len(fitted.table) == 33
    assert len(fitted.surfaces["original"].loss) == 30
    assert any(warning.startswith("1 trial failed") for warning in fitted.file.warnings)
    assert any(warning.startswith("1 trial diverged") for warning in fitted.file.warnings)


def test_the_transfer_states_its_assumption_and_what_differs(fitted):
    transfer = fitted.file.transfer
    assert (transfer.almr, transfer.lr) == (fitted.file.winner.almr, fitted.file.winner.lr)
    assert "is an assumption" in transfer.assumption
    assert [warning.split(":")[0] for warning in transfer.warnings] == [
        "training tokens",
        "global batch in tokens",
        "sequence length",
    ]


def test_the_same_records_give_the_same_fit_file_in_any_order(tmp_path, make_bowl, make_study, write_run):
    study, records = make_study(), make_bowl(noise=0.01)
    one = fit_run(study, write_run(tmp_path / "one", records, study))
    other = fit_run(study, write_run(tmp_path / "other", records[::-1], study))
    assert one.file.model_dump_json() == other.file.model_dump_json()
    assert FitFile.model_validate_json(one.file.model_dump_json()) == one.file


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say(make_bowl, make_study):
    files = [
        fit_table(make_study(), tables.from_records(make_bowl(noise=0.02, stream=stream))).file for stream in range(20)
    ]
    almr = sum(f.winner.almr_interval.low < 0.5 < f.winner.almr_interval.high for f in files)
    lr = sum(f.winner.lr_interval.low < 1.1e-4 < f.winner.lr_interval.high for f in files)
    slope = sum(f.coupling.interval.low < 1.0 < f.coupling.interval.high for f in files)
    # 90 % intervals: under 14 of 20 would be a chance of 1 in 500.
    assert min(almr, lr, slope) >= 14
    assert np.mean([np.log(f.winner.lr_interval.high / f.winner.lr_interval.low) for f in files]) < 1


@pytest.mark.parametrize("cliff", [0.5, 2.0])
def test_a_cliff_at_the_highest_lr_does_not_move_the_winner(make_bowl, make_study, cliff):
    """Towards divergence losses jump: the surface at its minimum must not follow them."""

    def over(record):
        raised = {name: value + cliff for name, value in record.loss.model_dump().items()}
        return record.model_copy(update={"loss": record.loss.model_validate(raised)})

    records = [over(r) if r.lr > 5e-4 else r for r in make_bowl()]
    winner = fit_table(make_study(), tables.from_records(records)).file.winner
    assert winner.lr_interval.low <= 1.1e-4 <= winner.lr_interval.high
    assert winner.lr_interval.high < 2 * winner.lr_interval.low
    assert winner.objective_interval.low <= 3.545 <= winner.objective_interval.high


def test_noise_is_not_fitted_away_on_a_small_grid(make_bowl, make_study):
    small = {"almrs": (0.1, 0.5, 0.9), "lrs": (3e-5, 1e-4, 3e-4), "noise": 0.01}
    for stream in range(5):
        fit = fit_table(make_study(), tables.from_records(make_bowl(stream=stream, **small)))
        assert min(fit.file.noise.values()) > 0.001


def test_a_minimum_far_below_every_trial_is_not_believed(make_study, make_record):
    """Two steep walls with nothing measured between them: the surface dips where no trial is."""
    records = [
        make_record(a, lr, loss={"original": 3.0 + h + s / 1000, "additional": 3.0 + h + s / 1000}, seed=s)
        for a, h in ((0.1, 0.4), (0.15, 0.2), (0.85, 0.2), (0.9, 0.4))
        for lr in (8e-5, 1e-4, 1.2e-4)
        for s in (0, 1)
    ]
    warnings = fit_table(make_study(), tables.from_records(records)).file.warnings
    assert any("nats below the best trial's" in warning for warning in warnings)


def test_an_unfinished_run_says_what_is_missing(make_bowl, make_study, tmp_path):
    study, records = make_study(), make_bowl(almrs=(0.1, 0.3))
    warnings = fit_table(study, tables.from_records(records)).file.warnings
    assert any("18 of the grid's 30 trials have no record yet" in warning for warning in warnings)
    assert any("no trial of the grid's 0.5, 0.7, 0.9 is usable yet" in warning for warning in warnings)


def test_rows_that_the_study_does_not_ask_for_are_left_out(make_bowl, make_study, make_record):
    study = make_study()
    other = [make_record(0.33, 1e-4), make_record(0.5, 1e-4, seed=0, fingerprint="another")]
    kept = [r for r in make_bowl() if (r.almr, r.lr) != (0.5, other[1].lr)]
    table = tables.mark_foreign(tables.from_records([*kept, *other]), study)
    assert set(table["excluded"].dropna()) == {"not in the study's grid", "made by another recipe"}
    assert any("2 trials left out that the study does not ask for" in w for w in fit_table(study, table).file.warnings)
