"""Rules that carry a winner to the launch: what is stated, what is recovered, what is said."""

import math
import statistics
from dataclasses import replace

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.fit_file.transfer import EdgeAfter, FittedRung
from analysis.fit_file.winner import Interval, LossAtWinner, Winner
from analysis.transfer import differences, ladder, sizes, terms
from analysis.transfer.ladder_setting import ladder_setting
from analysis.transfer.rules import Sweep, near_edge, setting
from analysis.transfer.terms import Term

from samples import make_study  # isort: skip
from sweep.study import InputError
from sweep.study.sections.transfer import LAWS, PARAMETERS_SD, TOKENS_SD, ModelFacts, TransferRule
from sweep.study.sizes.known import EMBEDDED

BATCH = 10**6
TARGET = {"parameters": 7e10, "tokens": 1e11, "batch": BATCH}


def rung(parameters, tokens, lr, almr=0.3, lr_sd=0.05, almr_sd=0.02, batch=BATCH):
    place = {"parameters": int(parameters), "tokens": int(tokens), "batch": batch}
    return FittedRung(name="r", **place, lr=lr, lr_sd=lr_sd, almr=almr, almr_sd=almr_sd)


def law(n, d):
    return 1.79 * n**-0.713 * d**0.307


def test_an_almr_beyond_its_bounds_is_cut_and_said():
    rungs = [rung(n, 10**9, 1e-4, almr) for n, almr in ((10**8, 0.5), (10**9, 0.75), (10**10, 0.98))]
    found = ladder_setting(rungs, {"parameters": 7e10, "tokens": 1e9, "batch": BATCH}, 0.9)
    assert found["almr"] == 1
    assert any("predicted ALMR, 1.1" in warning and "set to 1" in warning for warning in found["warnings"])
    inside = ladder_setting(rungs, {"parameters": 10**9, "tokens": 1e9, "batch": BATCH}, 0.9)
    assert not any("set to" in warning for warning in inside["warnings"])


def winner(lr=2e-5):
    loss = Interval(low=2.0, high=2.1)
    return Winner(
        almr=0.4, lr=lr, objective=2.05, objective_interval=loss, almr_interval=Interval(low=0.3, high=0.5),
        lr_interval=Interval(low=lr / 1.5, high=lr * 1.5), level=0.9, at_edge=(), edge_probability={},
        losses={"additional": LossAtWinner(mean=2.05, interval=loss)},
    )  # fmt: skip


def launch(rule, **fields):
    """8 times the size, 1,024 times the tokens and 64 times the batch of a trial."""
    content = {"model": "big", "tokens": 2**21, "global_batch_tokens": 2**14, "sequence_length": 2048}
    facts = {"trial": {"parameters": 10**6, "peak_lr": 2e-3}, "launch": {"parameters": 8 * 10**6, "peak_lr": 1e-3}}
    return make_study(launch=content | {"gpus_per_node": 1, "transfer": rule | facts} | fields)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"rule": "power"}, "no default"),
        ({"rule": "power", "parameters_exponent": -0.5, "tokens_exponent": 0}, "source"),
        ({"rule": "power", "law": "step-law", "tokens_exponent": 0.1}, "not both"),
        ({"rule": "direct", "law": "step-law"}, "takes no law"),
        ({"rule": "relative", "parameters_exponent": 0, "source": "ours"}, "takes no parameters_exponent"),
        ({"rule": "direct", "tokens_exponent": -0.3}, "tokens_exponent: say where it is from"),
        ({"rule": "ladder", "rungs": [{"run": "x"}], "tokens_exponent": 0.3}, "where it is from"),
        ({"rule": "ladder", "rungs": [{"lr": 1e-3, "parameters": 5}]}, "missing: tokens"),
        ({"rule": "ladder", "rungs": [{"run": "x", "loss_original": 2}]}, "takes no loss_original"),
        ({"rule": "ladder", "rungs": [{"run": "x"}, {"run": "y"}, {"run": "x"}]}, "rungs: x is named twice"),
        ({"rule": "direct", "batch_exponent": -1e3}, "greater than or equal to -5"),
        ({"rule": "direct", "tokens_exponent": 400, "source": "ours"}, "less than or equal to 5"),
        ({"rule": "direct", "parameters_exponent_sd": 300}, "less than or equal to 5"),
    ],
)
def test_nothing_is_assumed_in_silence(content, says):
    with pytest.raises(pydantic.ValidationError, match=says):
        TransferRule.model_validate(content)


def test_a_ladder_needs_rungs_or_horizons():
    with pytest.raises(pydantic.ValidationError, match=r"needs rungs or training\.horizons"):
        launch({"rule": "ladder"})


def carried(rule, **launch_fields):
    study = launch(rule, **launch_fields)
    of = study.launch.transfer
    return setting(Sweep("small", winner(), sizes.step(study, of)), of)


def test_power_scales_the_lr_by_the_three_ratios_and_leaves_the_almr():
    """Step Law at one batch: D^(0.307 - 0.571 / 2), and the launch's batch of 64 times the trial's by its root."""
    found = carried({"rule": "power", "law": "step-law"})
    assert found.lr == pytest.approx(2e-5 * 8**-0.713 * 1024 ** (0.307 - 0.571 / 2) * 64**0.5)
    assert found.almr == 0.4
    assert "2503.04715" in found.source
    assert "presumes a batch that grows with tokens^0.571" in found.assumption


def test_a_batch_that_grows_as_step_law_presumes_gives_its_published_exponent():
    law = LAWS["step-law"]
    for beta in (0.3, 0.5, 1.0):
        at_one = law.at_one_batch(beta)
        assert at_one.tokens + beta * law.batch_tokens == pytest.approx(0.307)
        assert at_one.parameters == -0.713
    compute = LAWS["deepseek"].at_one_batch(0.5)
    assert compute.parameters == compute.tokens == pytest.approx(-0.125 - 0.3271 / 2)


def test_every_rule_scales_the_lr_by_the_root_of_the_batch():
    for rule in ({"rule": "direct"}, {"rule": "relative"}):
        found = carried(rule, tokens=2048 * 64, global_batch_tokens=2**14)
        assert found.lr == pytest.approx(2e-5 * 8 * (1 if rule["rule"] == "direct" else 0.5))
        assert (found.batch.value, found.batch.sd) == (0.5, 0.2)
        assert "2205.10287" in found.assumption
    stated = carried({"rule": "direct", "batch_exponent": 1, "batch_exponent_sd": 0})
    assert stated.lr == pytest.approx(2e-5 * 64)
    assert stated.batch.interval is None


def test_relative_keeps_the_share_of_each_models_own_peak():
    """Llama-3: 3e-4 at 8B, 1.5e-4 at 70B, 8e-5 at 405B (arXiv 2407.21783, table 3)."""
    content = {"tokens": 2048, "global_batch_tokens": 256, "sequence_length": 32, "gpus_per_node": 1}
    for model, factor in (("Meta-Llama-3-70B", 0.5), ("Llama-3.1-405B", 8 / 30)):
        study = make_study(
            base_model={"pretrained": "meta-llama/Meta-Llama-3-8B"},
            launch=content | {"model": f"meta-llama/{model}", "transfer": {"rule": "relative"}},
        )
        rule = study.launch.transfer
        found = setting(Sweep("small", winner(), sizes.step(study, rule)), rule)
        assert found.lr == pytest.approx(2e-5 * factor)


def test_relative_without_a_peak_names_the_field():
    study = launch({"rule": "relative"})
    rule = TransferRule(rule="relative", trial={"peak_lr": 1e-3})
    with pytest.raises(InputError, match=r"set launch\.transfer\.launch\.peak_lr$"):
        setting(Sweep("small", winner(), sizes.step(study, rule)), rule)


def test_the_known_peak_of_the_embedded_models_is_that_of_their_training():
    from trainers import tiny

    assert {EMBEDDED[name].peak_lr for name in tiny.MODELS} == {tiny.LR}


def test_a_stated_sd_of_an_exponent_widens_the_interval_with_the_distance():
    content = {"parameters_exponent": -0.5, "tokens_exponent": 0, "source": "ours"}
    sds = {"parameters_exponent_sd": 0.1, "tokens_exponent_sd": 0, "batch_exponent_sd": 0}
    found = carried({"rule": "power"} | content | sds)
    half = math.hypot(math.log(1.5), 1.6449 * 0.1 * math.log(8))
    assert math.log(found.lr_interval.high / found.lr) == pytest.approx(half, rel=1e-3)


def test_no_exponent_is_certain_by_default():
    found = carried({"rule": "direct"})
    sds = (0.2 * math.log(8), 0.25 * math.log(1024), 0.2 * math.log(64))
    half = math.hypot(math.log(1.5), *(1.6449 * sd for sd in sds))
    assert math.log(found.lr_interval.high / found.lr) == pytest.approx(half, rel=1e-3)


def test_the_default_sds_are_the_scatter_of_the_published_exponents_at_one_batch():
    laws = [law.at_one_batch(0.5) for law in LAWS.values()]
    assert statistics.stdev([-1 / 3, *(law.parameters for law in laws)]) == pytest.approx(PARAMETERS_SD, abs=0.025)
    assert statistics.stdev([-0.56, *(law.tokens for law in laws)]) == pytest.approx(TOKENS_SD, abs=0.025)


lrs = st.floats(1e-6, 1e-2)
exponents = st.floats(-1, 1)


@given(lr=lrs, exponent=exponents, sd=st.floats(0, 1), ratios=st.lists(st.floats(1e-3, 1e3), max_size=3))
def test_exponent_zero_and_ratio_one_leave_the_lr(lr, exponent, sd, ratios):
    own = Interval(low=lr / 1.3, high=lr * 1.7)
    still = [Term("tokens", 1.0, exponent, sd), *(Term("batch", ratio) for ratio in ratios)]
    new, interval = terms.carried(lr, own, 0.9, still)
    assert new == pytest.approx(lr)
    assert (interval.low, interval.high) == (pytest.approx(own.low), pytest.approx(own.high))


@given(exponent=exponents, sd=st.floats(0.01, 1), near=st.floats(1.1, 1e3), farther=st.floats(1.1, 1e3))
def test_the_interval_widens_with_the_distance_on_both_sides(exponent, sd, near, farther):
    own = Interval(low=1e-5, high=3e-5)

    def wide(ratio):
        new, found = terms.carried(2e-5, own, 0.9, [Term("tokens", ratio, exponent, sd)])
        return math.log(new / found.low), math.log(found.high / new)

    for first, second in ((near, near * farther), (1 / near, 1 / (near * farther))):
        assert all(a < b for a, b in zip(wide(first), wide(second), strict=True))


def test_a_rule_without_a_horizon_exponent_reaches_ten_times_the_tokens():
    direct = TransferRule(rule="direct")
    assert direct.horizon_fault(10) is None
    assert "trains 11 x the tokens of a trial" in direct.horizon_fault(11)
    assert "accept_token_ratio: 11" in direct.horizon_fault(10.5)
    assert "accept_token_ratio: 20" in direct.horizon_fault(0.05)
    assert TransferRule(rule="direct", accept_token_ratio=11).horizon_fault(10.5) is None
    assert direct.horizon_fault(100, fitted=True) is None
    assert TransferRule(rule="direct", tokens_exponent=-0.3, source="ours").horizon_fault(100) is None


def test_the_horizons_of_the_trials_give_the_exponent_of_tokens():
    study = launch({"rule": "direct"})
    rule = study.launch.transfer
    budgets = tuple((tokens, winner(2e-5 * (tokens / 2048) ** -0.4)) for tokens in (512, 1024, 2048))
    sweep = Sweep("small", winner(), sizes.step(study, rule), budgets)
    found = setting(sweep, rule)
    assert found.tokens.fitted
    assert found.tokens.value == pytest.approx(-0.4, abs=1e-6)
    assert found.lr == pytest.approx(2e-5 * 1024**-0.4 * 64**0.5, rel=1e-6)
    assert rule.horizon_fault(1024, found.tokens is not None) is None
    of = setting(sweep, rule.model_copy(update={"rule": "ladder", "parameters_exponent": 0.0, "source": "ours"}))
    assert of.lr == pytest.approx(found.lr, rel=1e-6)
    assert len(of.rungs) == 3


def test_power_without_the_sizes_says_which_to_state():
    study = launch({"rule": "power", "law": "step-law"})
    rule = TransferRule(rule="power", law="step-law")
    with pytest.raises(InputError, match=r"launch\.parameters"):
        setting(Sweep("small", winner(), sizes.step(study, rule)), rule)


def test_weight_decay_that_takes_more_off_in_the_launch_is_said():
    """LR 1e-3 for 20 steps against 10,000: without warm-up and decay, the sum of the LRs is their product."""
    flat = {"name": "cosine", "warmup": 0, "min_lr": 1}
    training = {"sequence_length": 32, "tokens": 20 * 256, "global_batch_tokens": 256, "schedule": flat}
    content = {"model": "big", "tokens": 10_000 * 256, "global_batch_tokens": 256, "sequence_length": 32}
    study = make_study(training=training, launch=content | {"gpus_per_node": 1})
    found = differences.shrinkage(study, 1e-3, 1e-3)
    assert found.trial == pytest.approx(1 - math.exp(-20 * 1e-4))
    assert found.launch == pytest.approx(1 - math.exp(-1))
    [warning] = differences.shrunk(found, 0.1)
    assert "0.20 % off the weights in a trial and 63.21 % in the launch" in warning
    assert "the launch needs a weight decay of 0.0002" in warning
    assert differences.shrunk(differences.shrinkage(study, 1e-7, 1e-7), 0.1) == []


def test_the_history_of_llama_8b_and_70b_is_nine_fold_apart():
    from analysis.transfer.differences import history

    content = {"model": "meta-llama/Meta-Llama-3-70B", "tokens": 2**21, "global_batch_tokens": 2**14}
    study = make_study(
        base_model={"pretrained": "meta-llama/Meta-Llama-3-8B"},
        launch=content | {"sequence_length": 2048, "gpus_per_node": 1},
    )
    [warning] = history(sizes.step(study, TransferRule(rule="direct")))
    assert "8.8 x apart" in warning


def test_a_ladder_recovers_an_exact_power_law_in_both_quantities():
    rungs = [rung(n, d, law(n, d), 0.5 - 0.02 * math.log(n / 1e8)) for n in (1e8, 4e8, 2e9) for d in (1e9, 4e9)]
    found = ladder_setting(rungs, TARGET, 0.9)
    assert found["parameters"].value == pytest.approx(-0.713, abs=1e-6)
    assert found["tokens"].value == pytest.approx(0.307, abs=1e-6)
    assert found["lr"] == pytest.approx(law(7e10, 1e11), rel=1e-6)
    assert found["almr"] == pytest.approx(0.5 - 0.02 * math.log(700), abs=1e-6)
    assert found["lr_interval"].low < found["lr"] < found["lr_interval"].high


def test_the_prediction_interval_grows_with_the_distance():
    rungs = [rung(n, 1e9, law(n, 1e9)) for n in (1e8, 4e8, 2e9)]
    widths = []
    for target in (1e9, 1e10, 1e11):
        found = ladder_setting(rungs, {"parameters": target, "tokens": 1e9, "batch": BATCH}, 0.9)["lr_interval"]
        widths.append(math.log(found.high / found.low))
    assert widths[0] < widths[1] < widths[2]


def test_two_rungs_give_their_own_intervals_and_say_that_nothing_tests_the_law():
    rungs = [rung(n, 1e9, law(n, 1e9)) for n in (1e8, 1e9)]
    found = ladder_setting(rungs, {"parameters": 1e10, "tokens": 1e9, "batch": BATCH}, 0.9)
    assert found["lr"] == pytest.approx(law(1e10, 1e9), rel=1e-6)
    # The line through both, one step of equal length on: 2 y2 - y1.
    half = 1.6449 * math.sqrt(5) * 0.05
    assert math.log(found["lr_interval"].high / found["lr"]) == pytest.approx(half, rel=1e-3)
    assert "no spare rung" in found["assumption"]
    assert any("the law is not tested" in warning for warning in found["warnings"])
    assert any(
        "extrapolated farther" in warning
        for warning in ladder_setting(rungs, TARGET | {"tokens": 1e9, "batch": BATCH}, 0.9)["warnings"]
    )


def test_a_budget_that_no_rung_varies_needs_a_stated_exponent():
    rungs = [rung(n, 1e9, law(n, 1e9)) for n in (1e8, 4e8, 2e9)]
    with pytest.raises(InputError, match="tokens_exponent"):
        ladder_setting(rungs, TARGET, 0.9)
    certain, found = (
        ladder_setting(rungs, TARGET, 0.9, {"tokens": Term("tokens", None, 0.307, sd)}) for sd in (0.0, 0.2)
    )
    assert certain["lr"] == found["lr"] == pytest.approx(law(7e10, 1e11), rel=1e-6)
    assert not found["tokens"].fitted
    half = math.hypot(math.log(certain["lr_interval"].high / found["lr"]), 1.6449 * 0.2 * math.log(100))
    assert math.log(found["lr_interval"].high / found["lr"]) == pytest.approx(half, rel=1e-3)


def test_a_ladder_that_varies_the_batch_fits_its_exponent():
    rungs = [
        rung(n, 1e9, law(n, 1e9) * (b / BATCH) ** 0.62, batch=b) for n in (1e8, 4e8, 2e9) for b in (BATCH, 4 * BATCH)
    ]
    target = TARGET | {"tokens": 1e9, "batch": 16 * BATCH}
    found = ladder_setting(rungs, target, 0.9, {"batch": Term("batch", None, 0.5, 0.2)})
    assert found["batch"].value == pytest.approx(0.62, abs=1e-6)
    assert found["batch"].fitted
    assert found["lr"] == pytest.approx(law(7e10, 1e9) * 16**0.62, rel=1e-6)


def test_rungs_that_lie_too_near_for_so_far_a_launch_are_refused_in_one_line():
    """A slope of ln LR over ln parameters of about 100 from sizes 6 % apart."""
    study = launch({"rule": "ladder", "tokens_exponent": 0, "source": "ours", "rungs": [{"run": "x"}]})
    step = replace(sizes.step(study, study.launch.transfer), launch=ModelFacts(parameters=10**12))
    near = tuple(rung(n, 2048, lr, batch=256) for n, lr in ((10**6 / 1.06, 1e-8), (10**6 / 1.12, 1e-11)))
    with pytest.raises(InputError, match=r"rule ladder carries the LR beyond all numbers: .* farther apart$"):
        setting(Sweep("own", winner(), step, rungs=near), study.launch.transfer)
    step = replace(step, launch=ModelFacts(parameters=7 * 10**7))
    wide = (rung(10**6 / 1.06, 2048, 2e-5, batch=256, lr_sd=1.0),)  # to LR 1e52, which no reader takes for a number
    steep = (rung(10**6 / 1.06, 2048, 1e-4, batch=256),)  # LR 1e-56: its edge would be 1e50 times as high
    for rungs in (wide, steep):
        with pytest.raises(InputError, match=r"rule ladder carries the LR beyond all numbers: .* farther apart$"):
            setting(Sweep("own", winner(), step, rungs=rungs), study.launch.transfer)


def test_rungs_of_one_kind_cannot_tell_a_law():
    with pytest.raises(InputError, match="do not determine"):
        ladder.line([rung(1e8, 1e9, 1e-3), rung(1e8, 1e9, 1e-3)], "lr")


@pytest.mark.parametrize(("rungs", "scatter"), [(3, 0.2), (5, 0.1)])
def test_the_interval_holds_the_truth_on_simulated_ladders(rungs, scatter):
    """Of 90 % intervals at 10 times the largest rung; the target scatters about the law as the rungs do."""
    random, inside, repeats = np.random.default_rng(rungs), 0, 120
    sizes_ = np.geomspace(1e8, 1e9, rungs)
    for _ in range(repeats):
        logs = np.log(law(sizes_, 1e9)) + scatter * random.standard_normal(rungs)
        seen = logs + 0.08 * random.standard_normal(rungs)
        ladder_ = [rung(int(n), 10**9, float(np.exp(y)), lr_sd=0.08) for n, y in zip(sizes_, seen, strict=True)]
        line = ladder.line(ladder_, "lr")
        _, interval = line.predict(line.point({"parameters": 1e10, "tokens": 1e9, "batch": BATCH}), 0.9)
        inside += interval.low <= math.log(law(1e10, 1e9)) + scatter * random.standard_normal() <= interval.high
    assert inside / repeats >= 0.83


@pytest.mark.parametrize(
    ("edge", "measured", "says"),
    [
        (5.5e-4, False, "3.19e-3, is 5.8 x the estimated divergence LR at its size, 5.5e-4 (a lower bound"),
        (4.785e-3, True, "3.19e-3, is 0.67 x the estimated divergence LR at its size, 4.79e-3. Run"),
        (7e-3, True, None),
        (None, False, None),
    ],
)
def test_a_launch_near_or_over_the_divergence_edge_says_by_how_much(edge, measured, says):
    scaled = EdgeAfter(lr=edge, factor=None, measured=measured, assumption="scaled")
    found = near_edge(scaled, 3.19e-3)
    assert len(found) == (says is not None)
    assert all(says in warning for warning in found)
