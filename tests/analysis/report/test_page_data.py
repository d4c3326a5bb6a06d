"""The data of the page: known answers, what is missing, and runs without a fit."""

import base64
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pages import Page

from analysis.report.data import script_json
from analysis.report.history import budgets
from analysis.report.page import Unfitted, render, render_unfitted
from analysis.report.trials import curves
from analysis.table import table as tables
from sweep.verbs.results.fitting import keep_surfaces

HOSTILE = "</script><script>alert(1)</script><!-- \u2028 & 中文"


@pytest.fixture(scope="module")
def data(fitted, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    return Page(render(keep_surfaces(fitted, run), run)).data


def test_trials_come_by_objective_and_those_left_out_come_last_with_their_reason(data):
    trials = data["trials"]
    assert {len(values) for values in trials.values() if isinstance(values, list)} == {33}
    assert trials["out"] == [
        *[None] * 30,
        "diverged: held-out loss 9.1 is over the margin",
        "failed: worker died",
        "no additional loss",
    ]
    assert trials["status"][30:] == ["diverged", "failed", "complete"]
    assert trials["objective"][:30] == sorted(trials["objective"][:30])
    assert (trials["tokens"][31], trials["loss"]["original"][31]) == (None, None)


def test_the_surfaces_have_every_digit_of_the_fit(data, fitted):
    grid = data["grid"]
    assert grid["almr"] == fitted.lattice.almr.tolist()
    for name, mean in fitted.lattice.mean.items():
        assert np.frombuffer(base64.b64decode(grid["mean"][name]), "<f8").tolist() == mean.ravel().tolist()
    assert data["goal"]["weights"] == {"original": 0.5, "additional": 0.5}
    assert data["base"] == {"original": 3.4, "additional": 5.7}


def test_winner_curve_region_and_rules_are_those_of_the_fit(data, fitted):
    file, winner = fitted.file, data["winner"]
    assert winner["lr"] == pytest.approx(file.winner.lr, rel=1e-6)
    assert len(winner["curve"]) == len(file.curve)
    assert [row[0] for row in winner["region"]] == pytest.approx([row.almr for row in file.region.rows])
    assert [point[0] for point in winner["front"]] == [point.weight for point in file.front]
    assert data["rules"][0]["name"] == "direct"
    assert data["table"].startswith("almr fit ")
    assert data["table"].endswith("trials.csv")


def test_data_can_hold_any_text_and_no_number_that_is_none():
    text = script_json({"a": HOSTILE, "b": [float("nan"), float("inf"), 0.1234567891, 3.0]})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": HOSTILE, "b": [None, None, 0.1234568, 3]}


def test_a_fit_of_an_older_version_has_a_page_without_surfaces(fitted, tmp_path):
    page = Page(render(fitted, tmp_path))
    assert page.data["grid"] is None
    assert "The surface is not in this run's files: almr fit writes it." in page.text


def test_curves_are_thinned_to_both_ends_and_share_their_tokens(make_bowl, make_study, write_run, tmp_path):
    records = make_bowl()[:3]
    run = write_run(tmp_path / "run", records, make_study())
    found = curves([*(one.trial_id for one in records), "gone"], run)
    assert found["axis"] == [0, 0, 0, None]
    assert (found["axes"][0][0], found["axes"][0][-1], len(found["axes"][0])) == (2048, 2048 * 50, 40)
    assert found["loss"][3] is None


def test_two_thousand_trials_make_a_page_of_under_three_megabytes(make_record, make_study, tmp_path):
    study, lines = make_study(), [{"tokens": 2048 * k, "loss": 3.0 + 1 / (k + 7)} for k in range(1, 60)]
    one = tables.from_records([make_record(0.5, 1e-4, loss={"original": 3.123456, "additional": 4.234567})])
    table = pd.concat([one] * 2000, ignore_index=True)
    table["trial_id"] = [f"almr=0.50_lr=1.000e-04_seed={k}" for k in range(2000)]
    for name in table["trial_id"]:
        folder = tmp_path / "trials" / name
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    run = tmp_path
    html = render_unfitted(Unfitted(study, table, "too many"), run)
    assert len(Page(html).data["trials"]["id"]) == 2000
    assert len(html) < 1_500_000  # leaves as much for surfaces, a fit.json and other columns


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_run_without_a_fit_has_a_page_of_what_is_there(count, make_bowl, make_study, make_record, tmp_path):
    study = make_study()
    records = [*make_bowl()[:count], *([make_record(0.5, 3e-3, status="failed", reason=HOSTILE)] if count else [])]
    table = tables.mark_foreign(tables.from_records(records), study) if records else tables.empty()
    html = render_unfitted(
        Unfitted(study, table, "2 usable trials: a surface needs 9"), tmp_path, ["to go on: almr run x"]
    )
    page = Page(html)
    text = " ".join(page.text.split())
    assert "NO RESULT 2 usable trials: a surface needs 9 To go on:almr run x" in text
    assert len(page.data["trials"]["id"]) == len(records)
    assert (page.data["winner"], page.data["grid"]) == (None, None)
    assert html.count("<script") == 2
    assert ("No trial has finished." in text) == (count == 0)
    if count:
        losses = [page.data["trials"]["loss"][name][0] for name in ("original", "additional")]
        assert page.data["trials"]["objective"][0] == pytest.approx(sum(losses) / 2, abs=1e-5)


def test_history_refits_the_first_trials_of_a_search_alone(fitted):
    ids = list(fitted.table["trial_id"])
    order = [float(k) for k in np.random.default_rng(0).permutation(len(ids))]
    found = budgets(fitted, order, ids)
    assert [one["trials"] for one in found] == [12, 19, 26, 33]
    assert found[-1]["lr"] == [fitted.winner.lr_interval.low, fitted.winner.lr_interval.high]
    widths = [one["almr"][1] - one["almr"][0] for one in found]
    assert widths[0] > widths[-1]
    assert budgets(fitted, [None] * len(ids), ids) == []


def test_trials_of_another_recipe_are_not_among_the_first_of_a_search(fitted):
    """Their records have numbers of an earlier search."""
    foreign = fitted.table[:9].assign(trial_id=[f"old {k}" for k in range(9)], excluded=tables.OTHER_RECIPE)
    mixed = replace(fitted, table=pd.concat([foreign, fitted.table], ignore_index=True))
    order = [float(k) for k in (*range(9), *range(len(fitted.table)))]
    found = budgets(mixed, order, list(mixed.table["trial_id"]))
    assert found == budgets(fitted, order[9:], list(fitted.table["trial_id"]))


def test_a_finer_lattice_gives_back_the_one_that_it_was_made_from(fitted):
    coarse, finer = fitted.lattice, fitted.lattice.finer()
    assert (len(finer.almr), len(finer.coarse.almr)) == (73, 25)
    assert finer.coarse.mean["original"] == pytest.approx(coarse.mean["original"], abs=1e-12)
    assert coarse.coarse is coarse
