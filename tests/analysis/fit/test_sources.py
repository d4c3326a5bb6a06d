"""Fits of studies with several sources a language: objectives and guards of sources, on surfaces that are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from several_sources import BASE, BITS_PER_NAT, SHARES, by_language, losses, record, records, study

from analysis.decision import sources
from analysis.decision.objectives import GuardedGoal, WeightedGoal, goal, goal_of
from analysis.fit.fit import Fit, fit_study
from analysis.fit_file.fit_file import FitFile
from analysis.fit_file.winner import Interval, LossAtWinner
from analysis.table import table as tables
from sweep.study import InputError, Objective
from sweep.verbs.results.verdict import verdict


def fitted(objective, **changes) -> Fit:
    of = study(objective=objective, **changes)
    return fit_study(of, tables.from_records(records(of)))


@pytest.fixture(scope="module")
def plain() -> Fit:
    return fitted({})


@pytest.fixture(scope="module")
def guarded() -> Fit:
    return fitted({"guards": [{"source": "code", "at_most_percent": 5}]})


def codes(fit):
    return {finding.code for finding in fit.refusals}


def test_without_sources_in_the_objective_the_languages_decide(plain):
    assert plain.winner.almr == pytest.approx(0.6, abs=0.03)
    assert plain.winner.lr == pytest.approx(1e-4, rel=0.15)
    assert list(plain.surfaces) == ["original", "additional"]
    assert plain.file.weights == {"original": 0.5, "additional": 0.5}
    assert plain.file.loss_guards == ()
    assert plain.refusals == []


def test_each_source_is_predicted_at_the_winner_against_the_base_model(plain):
    at, found = losses(plain.winner.almr, plain.winner.lr), {one.name: one for one in plain.file.sources}
    assert list(found) == ["web", "code", "additional"]
    for name, one in found.items():
        assert one.loss.mean == pytest.approx(at[name], abs=0.01)
        width = one.loss.interval.high - one.loss.interval.low
        assert one.loss.interval.low - width < at[name] < one.loss.interval.high + width
        assert one.base == pytest.approx(BASE[name])
        assert one.bits_per_byte == pytest.approx(one.loss.mean * BITS_PER_NAT[name])
        assert one.base_bits_per_byte == pytest.approx(BASE[name] * BITS_PER_NAT[name])
        assert one.change == pytest.approx(at[name] - BASE[name], abs=0.01)
    assert [one.share for one in found.values()] == [0.7, 0.3, 1.0]
    assert [one.verdict for one in found.values()] == ["better", "worse", "better"]
    assert found["code"].epochs == pytest.approx(3 * (1 - plain.winner.almr))
    assert found["additional"].loss == plain.winner.losses["additional"]


def test_weights_by_source_move_the_winner():
    """The least of 0.5 code + 0.5 additional is where 0.8 a = 0.8 - a."""
    fit = fitted({"weights": {"code": 1, "additional": 1}, "max_epochs": 1.2})
    assert fit.winner.almr == pytest.approx(0.8 / 1.8, abs=0.03)
    assert fit.winner.almr_interval.low - 0.01 <= 0.8 / 1.8 <= fit.winner.almr_interval.high + 0.01
    assert list(fit.surfaces) == ["original", "additional", "code"]
    assert fit.file.weights == {"original": 0.0, "additional": 0.5, "code": 0.5}
    assert fit.file.noise["code"] == pytest.approx(0.002, rel=0.6)
    assert fit.file.front  # between the languages, as ever
    assert "the loss of Chinese (weight 0.5) and code (weight 0.5)" in verdict(fit)
    [refusal] = [finding for finding in fit.refusals if finding.code == "repeats"]  # of code, 3 times in English alone
    assert "a trial reads the code (English) corpus" in refusal.message
    assert "from ALMR 0.6 on" in refusal.message


def test_a_guard_of_one_source_moves_the_winner_to_its_border(plain, guarded):
    """Code is 5 % over the base model's at ALMR 0.5 and the best LR; without the guard the winner is at 0.6."""
    [guard] = guarded.file.loss_guards
    assert guard.model_dump(include={"source", "percent", "base"}) == {"source": "code", "percent": 5, "base": 2.0}
    assert guard.bound == pytest.approx(2.1)
    assert guard.probability >= guarded.winner.level
    assert 0.44 < guarded.winner.almr <= 0.5 < plain.winner.almr
    assert losses(guarded.winner.almr, guarded.winner.lr)["code"] <= guard.bound
    assert guarded.winner.losses["code"].mean < guard.bound
    assert guarded.file.weights == plain.file.weights
    assert guarded.file.guard is None
    assert codes(guarded) == set()
    assert "guard: the loss of code at most 2.1000, 5 % above the base model's 2.0000: kept with" in verdict(guarded)


def test_a_fit_with_guards_is_the_same_after_its_file_is_read(guarded):
    file = FitFile.model_validate_json(guarded.file.model_dump_json())
    assert file == guarded.file
    again = goal_of(file).of_trials(guarded.table)
    assert again.equals(guarded.goal.of_trials(guarded.table))
    assert 0 < again.notna().sum() < len(again)


def test_guards_that_single_points_keep_but_none_together_are_refused_with_their_numbers():
    """Chinese is to fall to 4.05, which needs ALMR 0.48 or more, and code to stay within 3 %, which ends at 0.39."""
    guards = [{"source": "code", "at_most_percent": 3}, {"source": "additional", "at_most_percent": 0}]
    of = study(objective={"guards": guards})
    fit = fit_study(of, tables.from_records(records(of)).assign(base_loss_additional=4.05))
    [refusal] = [finding for finding in fit.refusals if finding.code == "guard"]
    assert "keeps the guards, code loss at most 2.0600 nats and Chinese loss at most 4.0500" in refusal.message
    assert "% for the code loss and" in refusal.message
    assert refusal.next
    assert min(guard.probability for guard in fit.file.loss_guards) < 0.9
    assert 0.38 < fit.winner.almr < 0.5  # between the two
    for name, bound in fit.goal.bounds.items():  # each by itself can be kept
        assert GuardedGoal({name: bound}, 0.9).excess(fit.lattice).min() < 0


@pytest.mark.parametrize(("mean", "expected"), [(2.9, "better"), (2.99, "not distinguishable"), (3.2, "worse")])
def test_a_change_is_told_where_the_interval_leaves_out_the_base_models_loss(mean, expected):
    loss = LossAtWinner(mean=mean, interval=Interval(low=mean - 0.05, high=mean + 0.05))
    assert sources._verdict(loss, 3.0) == expected


def test_a_trial_without_the_loss_that_the_objective_names_is_left_out():
    of = study(objective={"weights": {"code": 1, "additional": 1}})
    made = records(of)
    made[3] = made[3].model_copy(update={"sources": {}})
    table = tables.mark_foreign(tables.from_records(made), of)
    assert table["excluded"].dropna().to_dict() == {3: "no code loss"}
    assert tables.mark_foreign(tables.from_records(made), study())["excluded"].isna().all()


def test_a_loss_that_nobody_measured_is_asked_for():
    of = study(objective={"guards": [{"source": "code", "at_most_percent": 1}]})
    without = [one.model_copy(update={"sources": {}}) for one in records(of)]
    with pytest.raises(InputError, match=r"needs the loss of 'code', and no usable trial"):
        fit_study(of, tables.mark_foreign(tables.from_records(without), of))
    table = tables.from_records(records(of)).drop(columns="base_loss_code")
    with pytest.raises(InputError, match="base_loss_code"):
        fit_study(of, table)


def test_a_table_of_the_users_own_may_be_weighed_and_guarded_by_source(plain):
    table = plain.table[["almr", "lr", "excluded", "loss_code", "loss_additional", "loss_original", "base_loss_code"]]
    weighed = goal(Objective.model_validate({"weights": {"code": 1, "original": 0}}), table)
    assert weighed == WeightedGoal({"original": 0.0, "additional": 0.0, "code": 1.0})
    guarded = goal(Objective.model_validate({"guards": [{"source": "code", "at_most_percent": 5}]}), table)
    assert guarded == GuardedGoal({"code": 2.1}, 0.9, {"original": 0.5, "additional": 0.5})


@pytest.mark.slow
def test_a_shorter_budget_is_fitted_to_its_own_losses_of_sources():
    """At the shorter budget code rises twice as fast, so its guard stops the winner at a lower ALMR."""
    wsd = {"schedule": {"name": "wsd", "warmup": 0.125, "decay": 0.25}, "horizons": [1024]}
    training = study().training.model_dump(mode="json") | wsd
    of = study(objective={"guards": [{"source": "code", "at_most_percent": 5}]}, training=training)
    made = []
    for one in records(of):
        short = losses(one.almr, one.lr)
        short["code"] += 0.4 * one.almr**2
        sources = {name: {**result.model_dump(), "loss": short[name]} for name, result in one.sources.items()}
        shorter = record(of, one.almr, one.lr, short).loss
        horizon = {"tokens": 1024, "steps": 4, "loss": shorter.model_dump(), "sources": sources}
        made.append(type(one).model_validate(one.model_dump() | {"horizons": [horizon]}))
    fit = fit_study(of, tables.from_records(made))
    shorter, full = (found.winner for found in fit.file.horizons)
    assert shorter.almr <= np.sqrt(0.1 / 0.8) < full.almr <= 0.5
    assert shorter.almr == pytest.approx(np.sqrt(0.1 / 0.8), abs=0.06)


LOSS = st.floats(1, 6)
NAMES = st.sampled_from(["original", "additional", "web", "code"])
OBJECTIVES = st.one_of(
    st.fixed_dictionaries({"forgetting_guard_percent": st.floats(0, 50)}),
    st.fixed_dictionaries({"weights": st.dictionaries(NAMES, st.floats(0.1, 3), min_size=1)}),
    st.just({}),
)
GUARDS = st.lists(st.fixed_dictionaries({"source": NAMES, "at_most_percent": st.floats(0, 50)}), max_size=3)


@settings(max_examples=40)
@given(OBJECTIVES, GUARDS, st.lists(st.fixed_dictionaries(dict.fromkeys(SHARES, LOSS)), min_size=1, max_size=4))
def test_a_trial_has_one_objective_in_the_search_the_report_and_status(objective, guards, measured):
    """The table's goal, from which search and report take it, and `Objective.of_record`, which `almr status` uses."""
    aim = Objective.model_validate(objective | {"guards": guards})
    of = study()
    made = [record(of, 0.1 + 0.2 * i, 1e-4, one) for i, one in enumerate(measured)]
    table = tables.from_records(made)
    values = goal(aim, table).of_trials(table)
    expected = [aim.of_record(one) for one in made]
    assert [None if np.isnan(value) else value for value in values] == pytest.approx(expected)


def test_the_table_has_what_a_language_has_for_each_source_and_only_then():
    table = tables.from_records([record(study(), 0.5, 1e-4)])
    sources_of_it = [f"{kind}_{name}" for name in ("web", "code") for kind in tables.PER_LANGUAGE]
    assert list(table.columns) == [*tables.COLUMNS, *sources_of_it]
    found = losses(0.5, 1e-4)
    assert table["loss_code"].tolist() == [found["code"]]
    assert table["loss_original"].tolist() == [pytest.approx(by_language(found)["original"])]
    assert table["epochs_code"].tolist() == [1.5]
    plain = tables.from_records([record(study(), 0.5, 1e-4, sources={})])
    assert list(plain.columns) == tables.COLUMNS
