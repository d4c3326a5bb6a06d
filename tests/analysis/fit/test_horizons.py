"""One sweep, several token budgets: the winner at each, from trials whose optimum is known to move with the budget."""

import numpy as np
import pandas as pd
import pytest
from known_surfaces import Known, grid, measure
from samples import make_study

from analysis.figures import drawing as plots
from analysis.fit import horizons
from analysis.fit.fit import fit_run, fit_study, fit_table
from analysis.fit_file.fit_file import FitFile
from analysis.report.page import render
from analysis.table import table as tables
from sweep.study import Horizon, Objective, Record
from sweep.verbs.results.verdict import verdict

SHORT, MIDDLE, FULL = 1000, 2000, 4000
MOVING = {SHORT: Known(0.35, 2e-4), MIDDLE: Known(0.5, 1.2e-4), FULL: Known(0.6, 7e-5)}
LOSSES = ["loss_original", "loss_additional"]


def horizon(table: pd.DataFrame, tokens: int) -> pd.DataFrame:
    """The columns that a table of such trials gives a horizon."""
    return table[LOSSES].add_suffix(f"@{tokens}").assign(**{f"reason@{tokens}": pd.Series(None, table.index, object)})


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    at = {tokens: measure(known, grid(5, 6), seed=i) for i, (tokens, known) in enumerate(MOVING.items())}
    full = at[FULL].assign(tokens=FULL, trained_tokens=FULL, epochs_additional=0.8 * at[FULL]["almr"])
    full = full.reindex(columns=[*full.columns, *("seconds", "gpu_hours", "trial_id", "almr_achieved")])
    return pd.concat([full, horizon(at[SHORT], SHORT), horizon(at[MIDDLE], MIDDLE)], axis=1)


@pytest.fixture(scope="module")
def fitted(table):
    return fit_table(table, Objective(level=0.995), "moving")


def test_the_winner_of_each_budget_is_found_the_full_one_last(fitted):
    found = fitted.file.horizons
    assert [one.tokens for one in found] == [SHORT, MIDDLE, FULL]
    for one in found:
        known, winner = MOVING[one.tokens], one.winner
        assert winner.almr == pytest.approx(known.almr, abs=0.06)
        assert np.log(winner.lr / known.lr) == pytest.approx(0, abs=0.3)
        assert winner.almr_interval.low <= known.almr <= winner.almr_interval.high
        assert winner.lr_interval.low <= known.lr <= winner.lr_interval.high
    assert found[-1].winner == fitted.file.winner
    assert found[-1].refusals == tuple(dict.fromkeys(finding.code for finding in fitted.file.refusals))


def test_horizons_change_nothing_of_the_full_budgets_fit(fitted, table):
    plain = fit_table(table[[c for c in table if "@" not in c]], Objective(level=0.995), "moving").file
    assert plain.horizons == ()
    assert fitted.file.model_copy(update={"horizons": ()}) == plain
    assert FitFile.model_validate_json(fitted.file.model_dump_json()) == fitted.file


def test_the_horizons_give_a_transfer_its_exponent_of_tokens(table):
    """LR* falls from 2e-4 at 1,000 tokens to 7e-5 at 4,000: tokens^-0.76; the launch has 100 times the tokens."""
    launch = {"model": "meta-llama/Meta-Llama-3-8B", "tokens": 100 * FULL, "sequence_length": 50}
    study = make_study(
        base_model={"pretrained": "meta-llama/Meta-Llama-3-8B"},
        training={"sequence_length": 50, "tokens": FULL, "global_batch_tokens": 100},
        launch=launch | {"global_batch_tokens": 100, "gpus_per_node": 1, "transfer": {"rule": "direct"}},
    )
    file = fit_study(study, table).file
    sound = [one for one in file.horizons if not one.refusals]
    ends = sound[0], sound[-1]
    slope = np.log(ends[1].winner.lr / ends[0].winner.lr) / np.log(ends[1].tokens / ends[0].tokens)
    assert file.transfer.tokens.fitted
    assert file.transfer.tokens.value == pytest.approx(slope, abs=0.15)
    assert file.transfer.lr == pytest.approx(file.winner.lr * 100**file.transfer.tokens.value)
    plain = fit_study(study, table[[c for c in table if "@" not in c]]).file
    assert plain.transfer is None
    assert "no exponent for that" in plain.refusals[-1].message


def test_the_verdict_has_a_line_and_the_report_a_row_for_each(fitted, tmp_path, monkeypatch):
    lines = verdict(fitted).splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith("at ")] == [
        f"at {tokens} tokens" for tokens in ("1,000", "2,000", "4,000")
    ]
    monkeypatch.setattr(plots, "figures", lambda fit, run: {})
    page = render(fitted, tmp_path)
    assert "How the winner moves with the token budget" in page
    assert all(f"<tr><td>{tokens}</td>" in page for tokens in ("1k", "2k", "4k"))


def test_a_horizon_with_too_few_losses_is_left_out_with_a_warning(table):
    few = table[[c for c in table if f"@{MIDDLE}" not in c]].copy()
    few.loc[5:, [f"{name}@{SHORT}" for name in LOSSES]] = np.nan
    file = fit_table(few, Objective(), "moving").file
    assert file.horizons == ()  # the full budget alone is nothing to compare
    (warning,) = [finding for finding in file.warnings if finding.code == "horizon"]
    assert warning.message.startswith("no winner at 1,000 tokens: ")
    assert "5 usable trials" in warning.message


def test_branches_that_diverged_bound_the_surface_of_their_horizon_alone(table):
    rows = table["lr"] > 5e-4
    hot = table.copy()
    hot.loc[rows, [f"{name}@{SHORT}" for name in LOSSES]] = np.nan
    hot.loc[rows, f"reason@{SHORT}"] = "held-out loss is 2.000 nats above the base model"
    at = horizons.at(hot, SHORT)
    assert len(tables.diverged(at)) == rows.sum() == 5
    assert len(tables.usable(at)) == 25
    assert len(tables.usable(horizons.at(hot, MIDDLE))) == 30


def test_a_trial_is_judged_anew_at_each_horizon(table):
    odd = table.astype({"excluded": object}).copy()
    odd.loc[0, ["status", "excluded"]] = "diverged", "diverged: after its branch"
    odd.loc[1, ["status", "excluded"]] = "failed", "failed: lost node"
    odd.loc[2, "excluded"] = tables.OFF_GRID
    at = horizons.at(odd, SHORT)
    assert at["excluded"].isna().tolist()[:4] == [True, False, False, True]
    assert at["status"].tolist()[:3] == ["complete", "failed", "complete"]
    assert (at["tokens"] == SHORT).all()
    assert at["epochs_additional"].tolist() == pytest.approx((odd["epochs_additional"] / 4).tolist())
    assert not [name for name in at if "@" in name]


def test_horizons_become_columns_and_old_records_have_none(make_record):
    old = make_record(0.1, 1e-4, loss={"original": 3.0, "additional": 4.0})
    content = old.model_dump(mode="json", exclude={"horizons", "trained_tokens"})
    old = Record.model_validate(content)
    assert (old.horizons, old.trained_tokens) == ((), None)
    found = [
        {"tokens": 81920, "steps": 40, "loss": {"original": 3.2, "additional": 4.4}},
        {"tokens": 40960, "steps": 20, "reason": "not finite"},
    ]
    new = make_record(0.2, 1e-4, loss={"original": 3.0, "additional": 4.0}, horizons=found, trained_tokens=230000)
    table = tables.from_records([old, new])
    assert horizons.budgets(table) == [40960, 81920]
    assert table["loss_original@81920"].isna().tolist() == [True, False]
    assert table["loss_additional@81920"][1] == 4.4
    assert table["reason@40960"][1] == "not finite"
    assert horizons.at(table, 40960)["excluded"].tolist() == [horizons.UNMEASURED, "diverged: not finite"]
    assert horizons.budgets(tables.from_records([old])) == []
    assert horizons.budgets(table.assign(excluded=[None, tables.OTHER_RECIPE])) == []


def test_a_runs_horizons_are_fitted_and_those_it_lacks_are_named(make_bowl, make_study, write_run, tmp_path):
    recipe = {"sequence_length": 128, "tokens": 204800, "global_batch_tokens": 2048, "schedule": {"name": "wsd"}}
    study = make_study(training=recipe | {"horizons": [51200, 102400]})
    records = [
        record.model_copy(
            update={
                "fingerprint": study.fingerprint,
                "horizons": (Horizon(tokens=102400, steps=50, loss=record.loss),),
            }
        )
        for record in make_bowl()
    ]
    file = fit_run(study, write_run(tmp_path / "run", records, study)).file
    assert [one.tokens for one in file.horizons] == [102400, 204800]
    one, full = (found.winner for found in file.horizons)
    assert (one.almr, one.lr) == (full.almr, full.lr)
    assert ["51,200 tokens" in finding.message for finding in file.warnings if finding.code == "horizon"] == [True]
