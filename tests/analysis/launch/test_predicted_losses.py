"""What a launch is expected to reach, and how its end compares with it."""

from __future__ import annotations

import pytest

from analysis.fit_file.fit_file import CrossValidation
from analysis.fit_file.winner import Interval
from analysis.launch.plan import predicted_losses
from analysis.launch.plan.predicted_losses import PredictedChange, PredictedLosses, predict

SAME = {"tokens": 10**9, "global_batch_tokens": 2**20, "sequence_length": 4096, "nodes": 1, "gpus_per_node": 1}


@pytest.fixture
def fit(make_fit, make_study):
    """A fit whose trials' base model had losses of 2.5 and 3; its winner has 2.6 of each."""

    def made(**launch):
        found = make_fit(make_study(launch=SAME | launch))
        found.table["base_loss_original"], found.table["base_loss_additional"] = 2.5, 3.0
        return found

    return made


def test_the_change_at_the_winner_is_predicted_with_the_error_on_a_trial_that_was_left_out(fit):
    of = fit(model="meta-llama/Meta-Llama-3-8B")
    found = predict(of, of.study.launch, 0.4, 2e-5)
    assert found.assumption is None  # the trials' own model
    assert found.changes["original"].change == pytest.approx(0.1)
    assert found.changes["additional"].change == pytest.approx(-0.4)
    error = 0.02
    of.file.cross_validation["additional"] = CrossValidation(rmse=error, plain_rmse=error, coverage={})
    found = predict(of, of.study.launch, 0.4, 2e-5)
    half = (0.01**2 + (1.6449 * error) ** 2) ** 0.5  # the surface's, and that of its prediction, at 90 %
    assert found.changes["additional"].interval.low == pytest.approx(-0.4 - half, abs=1e-5)
    assert found.changes["additional"].after(3.2).high == pytest.approx(2.8 + half, abs=1e-5)


def test_a_larger_model_is_an_assumption_in_words(fit):
    of = fit()
    assert "an assumption that this run tests" in predict(of, of.study.launch, 0.4, 2e-5).assumption


@pytest.mark.parametrize(
    ("launch", "why"),
    [
        ({"tokens": 2 * 10**9}, "the launch trains 2 x the tokens of a trial"),
        ({"global_batch_tokens": 2**21}, "launch.global_batch_tokens is 2,097,152, that of the trials 1,048,576"),
        ({"sequence_length": 8192}, "launch.sequence_length is 8,192, that of the trials 4,096"),
        (
            {"evaluation": {"original": "/data/e.jsonl", "additional": "/data/z.jsonl"}},
            "the launch measures its losses on launch.evaluation, the trials on other text",
        ),
        (
            {"corpora": {"original": {"files": "/data/web.jsonl"}, "additional": {"files": "/data/chinese.parquet"}}},
            "the launch reads launch.corpora, the trials other text",
        ),
    ],
)
def test_another_budget_or_text_is_not_predicted(fit, launch, why):
    of = fit(**launch)
    found = predict(of, of.study.launch, 0.4, 2e-5)
    assert (found.why_not, found.changes) == (why, {})
    assert found.compared({"original": 2.5}, {"original": 2.6}) == []


def test_the_trials_text_that_the_launch_states_again_is_predicted(fit):
    corpora = {
        "original": {"files": "/data/english.jsonl", "tokens": 10**10},
        "additional": {"files": ["/data/chinese.parquet"]},
    }
    of = fit(corpora=corpora)
    assert predict(of, of.study.launch, 0.4, 2e-5).changes.keys() == {"original", "additional"}


def test_without_losses_of_the_base_model_nothing_is_predicted(make_fit, make_study):
    of = make_fit(make_study(launch=SAME))
    assert predict(of, of.study.launch, 0.4, 2e-5).why_not == "the base model's held-out losses are not known"


def test_only_a_launch_with_the_predicted_setting_gets_the_file(fit, corpora, tmp_path):
    from analysis.launch.bundle import FittedRun, export

    out = tmp_path / "run" / "launch"
    export(FittedRun(fit(), tmp_path / "run", corpora), out, formats=("native",))
    found = predicted_losses.read(out / "native")
    assert found.is_for(0.4, 2e-5, found.tokens)
    assert predicted_losses.read(out / "confirm-1-native") is None


@pytest.mark.parametrize(("after", "verdict", "word"), [(2.61, "1 of 1", "inside"), (2.7, "0 of 1", "OUTSIDE")])
def test_the_end_of_a_launch_says_whether_its_losses_are_inside(after, verdict, word):
    change = PredictedChange(label="English", change=0.1, interval=Interval(low=0.08, high=0.12))
    predicted = PredictedLosses(model="m", almr=0.4, lr=1e-5, tokens=9, level=0.9, changes={"original": change})
    lines = predicted.compared({"original": 2.5, "additional": None}, {"original": after, "additional": 3.0})
    assert lines[0] == f"{verdict} held-out losses are inside their predicted intervals"
    assert lines[1] == f"English: held-out loss 2.500 before, {after:.3f} after (predicted 2.580 to 2.620: {word})"
    assert lines[2] == "Each interval holds 90 % of runs."
