"""Fitted runs beside each other: known answers, what does not compare, and what is refused."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_fits import known_fit
from known_surfaces import Known, grid, measure
from rich.cells import cell_len
from scipy.stats import norm

from analysis.compare import comparable, shift
from analysis.compare.compare import compare_runs, compared
from analysis.compare.fitted import ComparedFit, load_fitted, named_apart
from analysis.compare.shared import shared_trials
from analysis.compare.text import pairs, rows
from analysis.decision.objectives import WeightedGoal
from analysis.decision.winner import interval
from analysis.fit.fit import fit_study, fit_table
from analysis.fit_file.inputs import FitInputs
from analysis.fit_file.winner import Interval
from analysis.table import table as tables
from sweep.study import Ingredients, InputError, Objective, Weights
from sweep.study.sections.text.corpora import BaseModelSource
from sweep.study.tables import aligned
from sweep.study.tables.written import csv

LAUNCH = {"model": "large", "tokens": 10**8, "global_batch_tokens": 4096, "sequence_length": 128}


@pytest.fixture(scope="module")
def base():
    return known_fit("base")


@pytest.fixture(scope="module")
def moved():
    return known_fit("moved", 1, almr=0.65, lr=2e-4)


def pair_of(*fits, **options):
    [pair] = compared(fits, **options).pairs
    return pair


@pytest.mark.parametrize(
    ("studies", "addresses", "names"),
    [
        (["one", "two"], ["/data/runs/one", "/data/runs/two"], ["one", "two"]),
        (["one", "one"], ["/data/runs/one", "/data/runs/before/one"], ["one", "before/one"]),
        (["one", "one"], ["s3://bucket/runs/one", "/data/runs/one"], ["s3://bucket/runs/one", "/data/runs/one"]),
        (["one", "one", "two"], ["/data/one", "/data/one", "/data/two"], ["one (1)", "one (2)", "two"]),
    ],
)
def test_runs_of_one_study_are_called_by_where_their_addresses_part(studies, addresses, names):
    assert named_apart(studies, addresses) == names


def test_the_same_trials_twice_show_no_difference(base):
    pair = pair_of(base, base.called("again"))
    assert (pair.shift.p_value, pair.shift.differ) == (1.0, False)
    assert (pair.shift.almr.value, pair.shift.lr.value) == (0.0, 1.0)
    assert pair.shift.almr.interval.low < 0 < pair.shift.almr.interval.high
    assert [one.cost.nats for one in pair.elsewhere] == [0.0, 0.0]
    assert {one.mean for one in pair.shared.losses} == {0.0}
    assert (pair.shared.trials, pair.shared.ended_otherwise) == (36, 0)
    assert any("the very same losses" in caveat for caveat in pair.caveats)
    assert pairs.word(pair) == pairs.CARRIES


def test_a_shifted_optimum_is_found_with_what_it_costs(base, moved):
    pair = pair_of(base, moved)
    assert pair.shift.differ
    assert pair.shift.p_value == shift.LEAST_P
    assert pair.shift.almr.interval.low < 0.15 < pair.shift.almr.interval.high
    assert pair.shift.lr.interval.low < 2 < pair.shift.lr.interval.high
    at, on = moved.file.winner, base.file.winner
    true = 0.5 * (at.almr - on.almr) ** 2 + 0.03 * math.log(at.lr / on.lr) ** 2  # of one bowl's minimum on the other
    for one in pair.elsewhere:
        assert one.cost.nats == pytest.approx(true, abs=2e-4)
        assert one.cost.interval.low < true < one.cost.interval.high
        assert one.carries is False
    assert pairs.word(pair) == pairs.COSTS
    assert pairs.optima(pair.shift).startswith("the optima differ (p at most 0.002): ALMR +0.1")


def test_one_optimum_is_called_two_as_rarely_as_promised():
    """Of 40 pairs whose posteriors are right, about 4 at 90 %: more than 9 have a chance of 2 %."""
    fits = [known_fit(f"{stream}", stream) for stream in range(1, 81)]
    found = [shift.of_optima(one, other, 0.9) for one, other in zip(fits[::2], fits[1::2], strict=True)]
    assert sum(one.p_value <= 0.1 for one in found) <= 9
    assert sum(one.almr.interval.low <= 0 <= one.almr.interval.high for one in found) >= 31
    assert 8 <= sum(one.p_value <= 0.5 for one in found) <= 32


def test_many_pairs_are_corrected_for_their_number(base, moved):
    again = known_fit("again", 2)
    found = compared([base, again, moved])
    plain = [pair.shift.p_value for pair in found.pairs]
    corrected = [pair.shift.p_corrected for pair in found.pairs]
    assert [(pair.first, pair.second) for pair in found.pairs] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert corrected[1:] == [3 * shift.LEAST_P] * 2
    assert corrected[0] >= plain[0]
    assert [row[0] for row in rows.cost_rows(found)] == ["winner of", "A base", "B again", "C moved"]
    assert rows.cost_rows(found)[1][1] == ""


def test_a_setting_that_was_not_tried_there_has_no_cost(base):
    pair = pair_of(base, known_fit("narrow", 1, almrs=(0.58, 0.9), almr=0.75))
    there, back = pair.elsewhere
    assert there.cost is None
    assert "is outside of what narrow tried: ALMR 0.58 to 0.90" in there.why
    assert back.cost is not None
    assert pairs.word(pair) in (pairs.UNKNOWN, pairs.COSTS)


def test_other_weights_are_no_one_objective(base):
    other = known_fit("other", 1, goal=WeightedGoal({"original": 0.2, "additional": 0.8}))
    found = compared([base, other])
    assert found.pairs[0].objectives == "they minimise different objectives"
    assert not found.one_scale
    assert any("their objectives differ" in caveat for caveat in found.pairs[0].caveats)
    assert found.runs[1].objective == "0.20 original + 0.80 additional"


def test_losses_of_tables_are_subtracted_where_the_base_models_are_equal_or_as_stated(base):
    other = known_fit("other", 1)
    by_name = {one.name: one for one in pair_of(base, other).losses}
    assert by_name["original"].unit == "nats per token"
    assert by_name["original"].interval.low < by_name["original"].difference < by_name["original"].interval.high
    assert by_name["additional"].unit is None
    assert "--same-text REASON" in by_name["additional"].why
    stated = pair_of(base, other, same_text="one suite")
    assert {one.unit for one in stated.losses} == {"nats per token"}


def test_one_hyper_parameter_alone_is_compared_along_it(base):
    along_lr, along_almr = known_fit("lrs", 1, alone="lr"), known_fit("almrs", 2, alone="almr")
    pair = pair_of(base, along_lr)
    assert pair.shift.almr is None
    assert pair.shift.lr.interval.low < 1 < pair.shift.lr.interval.high
    assert pair.elsewhere[1].cost.nats < 0.005
    assert [caveat for caveat in pair.caveats if caveat.startswith("lrs tried one ALMR")]
    none = pair_of(along_lr, along_almr)
    assert none.shift.p_value is None
    assert not any("tried one ALMR" in caveat for caveat in none.caveats)
    assert pairs.optima(none.shift) == "optima not compared: the runs varied no hyper-parameter in common"


DRAWS = st.integers(0, 2**32 - 1)


@settings(max_examples=30)
@given(DRAWS, st.floats(0, 0.2), st.floats(0, 1), st.floats(0.1, 10))
def test_the_tests_are_symmetric_free_of_units_and_see_more_of_what_is_farther(seed, almr, lr, unit):
    random = np.random.default_rng(seed)
    first, second = (random.normal([0.5, -8], [0.03, 0.1], (60, 2)) for _ in range(2))
    second = second - second.mean(axis=0) + first.mean(axis=0)
    scale, away = np.array([0.8, 4.6]), np.array([almr, lr])

    def p(one, other, by=1.0):
        return shift.joint_p(shift.every_difference(one, other) * [1, by], scale * [1, by])

    near, far = p(first, second + away / 2), p(first, second + away)
    assert far <= near + 1e-12
    assert p(second + away, first) == pytest.approx(far)
    assert p(first, second + away, unit) == pytest.approx(far)
    assert shift.LEAST_P <= far <= 1
    one = shift.every_difference(first, second + away)[:, 0]
    assert (shift.two_sided(one) <= 0.1) == (not interval(one, 0.9).low <= 0 <= interval(one, 0.9).high)


def test_draws_on_an_edge_are_tested_too():
    ones, others = np.ones((50, 2)), np.ones((50, 2)) * [1, 1.5]
    assert shift.joint_p(shift.every_difference(ones, ones), np.ones(2)) == 1
    assert shift.joint_p(shift.every_difference(ones, others), np.ones(2)) == shift.LEAST_P


def test_shared_trials_are_paired_by_their_point():
    rows = {"almr": [0.1, 0.2, 0.3, 0.4], "lr": [1e-3] * 4, "seed": [0, 0, 0, 0], "status": "complete"}
    first = pd.DataFrame(rows | {"excluded": [None] * 4, "loss_original": [3.0, 3.1, 3.2, 3.3]})
    second = first.assign(loss_original=first["loss_original"] + [0.01, 0.02, 0.03, 9.0])
    second.loc[3, ["status", "excluded"]] = ["diverged", "diverged: over the margin"]
    found = shared_trials(first, second.iloc[::-1], ["original"], 0.9)
    [one] = found.losses
    assert (found.trials, found.ended_otherwise, one.trials) == (4, 1, 3)
    assert (one.mean, one.largest, one.almr) == (pytest.approx(0.02), pytest.approx(0.03), 0.3)
    half = 2.919986 * 0.01 / math.sqrt(3)  # Student's t of 2 degrees of freedom at 95 %
    assert one.interval.high == pytest.approx(0.02 + half, abs=1e-6)
    assert shared_trials(first, second.assign(seed=1), ["original"], 0.9).trials == 0


# Of runs: folders with records.


def write_fitted(folder, study, records, write_run):
    """A run with its fit.json, without figures."""
    kept = [one.model_copy(update={"fingerprint": study.fingerprint}) for one in records]
    run = write_run(folder / study.name, kept, study)
    file = fit_study(study, tables.of_run(run, study)).file
    (run / "fit.json").write_text(file.model_copy(update={"inputs": FitInputs.of_run(study, run)}).model_dump_json())
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory, make_bowl, make_study, write_run):
    """Two fitted runs of one recipe but for their models and tokens, and one without a fit."""
    folder, training = tmp_path_factory.mktemp("runs"), make_study().training.model_dump()
    launch = LAUNCH | {"transfer": {"rule": "direct"}}
    larger = {"base_model": {"embedded": "tiny-5.6m"}, "training": training | {"tokens": 409600}}
    for stream, (name, changes) in enumerate({"first": {}, "larger": larger}.items()):
        write_fitted(folder, make_study(name=name, launch=launch, **changes), make_bowl(stream=stream), write_run)
    write_run(folder / "unfitted", make_bowl()[:3], make_study(name="unfitted"))
    return folder


@pytest.fixture(scope="module")
def read(runs):
    return compare_runs([runs / "larger", runs / "first"])


@pytest.fixture(scope="module")
def larger(read):
    return read[1][0]


@pytest.fixture(scope="module")
def first(read):
    return read[1][1]


def test_runs_are_read_with_their_fits_and_name_the_fields_that_differ(read):
    found, fits = read
    assert [run.name for run in found.runs] == ["larger", "first"]
    assert found.runs[0].winner == fits[0].file.winner
    assert {one.field: one.values for one in found.fields} == {
        "parameters of the base model": ("5,614,400", "529,056"),
        "base_model.embedded": ("'tiny-5.6m'", "'tiny'"),
        "training.tokens": ("409600", "204800"),
    }
    assert all(one.decides for one in found.fields)
    [pair] = found.pairs
    assert {one.unit for one in pair.losses} == {"nats per token"}  # one base loss: of the fixture, not of the models
    assert pair.shared.trials == 30


def test_the_larger_model_is_predicted_from_the_smaller_one(read):
    found, _ = read
    [pair] = found.pairs
    step = pair.sizes
    assert (step.smaller, step.larger) == ("B", "A")
    assert step.factor == pytest.approx(10.6, abs=0.1)
    rules = {rule.rule: rule for rule in step.rules}
    assert rules["direct"].chosen
    assert rules["direct"].held  # the two bowls are one
    assert rules["direct"].ratio_interval.low < 1 < rules["direct"].ratio_interval.high
    assert rules["direct"].cost.nats < 0.005
    assert rules["direct"].lr == found.run("B").winner.lr
    assert rules["power, step-law"].lr < 0.5 * rules["direct"].lr
    assert "held" in " ".join(pairs.pair_lines(found, pair))
    assert "ladder" not in rules


@pytest.mark.parametrize("other", ["first", "larger"])
def test_a_prediction_is_at_the_level_of_the_comparison_whatever_that_of_the_other_run(first, larger, other):
    def at_half(of):
        """The run as if its study asked for 50 %: its interval of the LR is narrower, as a normal's is."""
        winner, share = of.file.winner, float(norm.ppf(0.75) / norm.ppf(0.95))
        ends = (winner.lr * (end / winner.lr) ** share for end in (winner.lr_interval.low, winner.lr_interval.high))
        narrow = dict(zip(("low", "high"), ends, strict=True))
        winner = winner.model_copy(update={"level": 0.5, "lr_interval": Interval(**narrow)})
        return replace(of, file=of.file.model_copy(update={"winner": winner}))

    given = [larger, at_half(first)] if other == "first" else [first, at_half(larger)]
    [expected], [found] = (compared(fits).pairs for fits in ([given[0], first if other == "first" else larger], given))
    for one, same in zip(found.sizes.rules, expected.sizes.rules, strict=True):
        for name in ("lr_interval", "ratio_interval"):
            ends = [(pair.low, pair.high) for pair in (getattr(one, name), getattr(same, name)) if pair]
            assert ends[:1] == [pytest.approx(end, rel=1e-2) for end in ends[1:]]
        assert one.held == same.held


def test_three_sizes_ask_the_ladder_too(first, larger):
    shape = {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2} | {
        "num_attention_heads": 4,
        "vocab_size": 2048,
    }
    smallest = first.study.model_copy(update={"base_model": BaseModelSource(pretrained="m", shape=shape)})
    found = compared([replace(first, study=smallest, name="smallest"), first, larger])
    rules = {(pair.first, pair.second): [rule.rule for rule in pair.sizes.rules] for pair in found.pairs}
    assert "ladder" in rules["B", "C"]
    assert "ladder" not in rules["A", "B"]


def test_texts_that_differ_are_not_subtracted(first):
    def measured(**changes):
        """Of the original text by two base models, whose counts differ in these."""
        return comparable.measure(of_text(first), of_text(first, **changes), "original")

    assert measured().unit == "nats per token"
    assert measured(held_out_tokens=1200, held_out_blocks=9).unit == "bits per byte"
    assert measured(held_out_bytes=2900).why == ("the held-out texts differ (9 documents, 2 kB and 9 documents, 3 kB)")
    short = of_text(first, held_out_tokens=10**6, held_out_blocks=7000)
    assert comparable.measure(of_text(first), short, "original").why.startswith("the tokenizers differ")
    one_model = [replace(first, table=first.table.assign(base_loss_original=loss)) for loss in (3.4, 3.6)]
    made = of_text(first).ingredients
    apart = comparable.measure(*(replace(one, ingredients=made) for one in one_model), "original")
    assert apart.why == "the base model's loss differs (3.4000 and 3.6000 nats), so the held-out text does"


def of_text(of, **changes):
    """The fit without its base model's loss, and with counts of its original text."""
    facts = {"fingerprint": "0" * 16, "documents": 90, "tokens": 9000, "bytes": 9000, "blocks": 90}
    held = {"held_out_documents": 9, "held_out_tokens": 900, "held_out_bytes": 1800, "held_out_blocks": 7}
    content = {"base_model": "m", "base_model_fingerprint": "0" * 16, "folders": {}}
    made = Ingredients.model_validate(content | {"corpora": {"original": facts | held | changes}})
    table = of.table.assign(bits_per_byte_original=of.table["loss_original"] / 2, base_loss_original=None)
    return replace(of, table=table, ingredients=made)


def test_other_corpora_are_predicted_by_no_rule(first, larger, make_study):
    corpora = {"original": {"embedded": "shakespeare"}, "additional": {"embedded": "chinese-poetry"}}
    other = larger.study.model_copy(update={"corpora": make_study(corpora=corpora).corpora})
    pair = pair_of(first, replace(larger, study=other))
    assert pair.sizes.rules == ()
    assert "not predicted: their corpora differ too" in " ".join(
        pairs.pair_lines(compared([first, replace(larger, study=other)]), pair)
    )


def test_a_run_without_a_fit_and_a_fit_of_other_trials_say_what_to_run(runs, tmp_path):
    with pytest.raises(InputError, match=r"^here: no fit yet: almr fit here$"):
        load_fitted(runs / "unfitted", "here")
    with pytest.raises(InputError, match=r"^1 run: give 2 to 9 fitted runs$"):
        compare_runs([runs / "first"])
    made = write_table(tmp_path / "t", measure(Known(), grid(4, 5)), Objective())
    assert load_fitted(tmp_path / "t", "t").file.winner.lr == made.winner.lr
    table = pd.read_csv(tmp_path / "t" / "trials.csv")
    table.iloc[:-3].to_csv(tmp_path / "t" / "trials.csv", index=False)
    with pytest.raises(InputError, match=r"t: its fit\.json is not what these trials give now"):
        load_fitted(tmp_path / "t", "t")


def write_table(folder, table, objective):
    """What a comparison reads of `almr fit TABLE --out FOLDER`."""
    folder.mkdir()
    made = fit_table(table, objective, "t")
    (folder / "trials.csv").write_text(csv(table))
    (folder / "fit.json").write_text(made.file.model_dump_json())
    return made


@pytest.mark.parametrize(
    "objective", [Objective(weights=Weights(original=0.3, additional=0.7)), Objective(forgetting_guard_percent=2)]
)
def test_a_table_is_compared_under_its_own_objective(tmp_path, objective):
    write_table(tmp_path / "t", measure(Known(), grid(4, 5)).assign(base_loss_original=3.55), objective)
    loaded = load_fitted(tmp_path / "t", "t")
    again = pair_of(loaded, loaded.called("again"))
    assert again.shift.p_value == 1.0
    assert again.elsewhere[0].cost.nats == pytest.approx(0, abs=1e-6)


def test_a_fit_of_many_trials_in_any_order_of_rows_is_that_of_its_table(tmp_path, monkeypatch):
    """Of many, a part determines the parameters of a surface: which ones depends on the order."""
    monkeypatch.setattr("analysis.surfaces.kernels.MOST_TRIALS", 10)
    mixed = measure(Known(), grid(4, 5)).sample(frac=1, random_state=1)
    write_table(tmp_path / "t", mixed, Objective())
    assert load_fitted(tmp_path / "t", "t").file.trials.complete == 20


def test_a_table_without_almr_says_so(base):
    points = [(0.5, lr) for lr in np.geomspace(1e-5, 1e-3, 8)]
    unstated = ComparedFit.of(fit_table(measure(Known(), points).drop(columns="almr"), name="unstated"), "unstated")
    found = compared([base, unstated])
    assert found.pairs[0].elsewhere[1].why == "its ALMR is not stated, and base has several"
    assert json.loads(found.model_dump_json())["runs"][1]["winner"]["almr"] is None


def test_columns_are_aligned_where_names_are_chinese():
    lines = aligned.blocks([["", "甲", "B"], ["小红楼梦 loss", "3.5", "x"], ["ALMR", "0.5", "y"]], width=80)
    assert len({cell_len(row[: max(map(row.find, "Bxy"))]) for row in lines}) == 1


def staged(of, stage, make_study):
    """A fit as that of a run of a stage: its study alone says so."""
    study = of.study or make_study()
    return replace(of, study=study.model_copy(update={"training": study.training.model_copy(update={"stage": stage})}))


def test_stages_are_compared_in_their_own_unit_and_not_with_each_other(first, larger, make_study):
    sft = [staged(one, "sft", make_study) for one in (first, larger)]
    text = "\n".join(rows.lines(compared(sft), 100))
    assert "losses in nats per target token" in text
    assert "nats per token" not in text
    with pytest.raises(InputError, match=r"larger: its losses are in nats per pair, those of first in nats per token"):
        compared([first, staged(larger, "dpo", make_study)])
