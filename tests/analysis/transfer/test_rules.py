"""Rules that carry a winner to the launch: what is stated, what is recovered, what is said."""

import math

import numpy as np
import pydantic
import pytest

from analysis.fit_file.transfer import EdgeAfter, FittedRung
from analysis.fit_file.winner import Interval, LossAtWinner, Winner
from analysis.transfer import ladder, sizes
from analysis.transfer.rules import ladder_setting, near_edge, power

from samples import make_study  # isort: skip
from sweep.study import InputError
from sweep.study.sections.transfer import TransferRule

TARGET = {"parameters": 7e10, "tokens": 1e11}


def rung(parameters, tokens, lr, almr=0.3, lr_sd=0.05, almr_sd=0.02):
    return FittedRung(name="r", parameters=parameters, tokens=tokens, lr=lr, lr_sd=lr_sd, almr=almr, almr_sd=almr_sd)


def law(n, d):
    return 1.79 * n**-0.713 * d**0.307


def test_an_almr_beyond_its_bounds_is_cut_and_said():
    rungs = [rung(n, 10**9, 1e-4, almr) for n, almr in ((10**8, 0.5), (10**9, 0.75), (10**10, 0.98))]
    found = ladder_setting(rungs, {"parameters": 7e10, "tokens": 1e9}, 0.9)
    assert found["almr"] == 1
    assert any("predicted ALMR, 1.1" in warning and "set to 1" in warning for warning in found["warnings"])
    inside = ladder_setting(rungs, {"parameters": 10**9, "tokens": 1e9}, 0.9)
    assert not any("set to" in warning for warning in inside["warnings"])


def winner(lr=2e-5):
    loss = Interval(low=2.0, high=2.1)
    return Winner(
        almr=0.4, lr=lr, objective=2.05, objective_interval=loss, almr_interval=Interval(low=0.3, high=0.5),
        lr_interval=Interval(low=lr / 1.5, high=lr * 1.5), level=0.9, at_edge=(), edge_probability={},
        losses={"additional": LossAtWinner(mean=2.05, interval=loss)},
    )  # fmt: skip


def launch(rule):
    content = {"model": "big", "tokens": 2**21, "global_batch_tokens": 2**14, "sequence_length": 2048}
    sizes_ = {"trial": {"parameters": 10**6}, "launch": {"parameters": 8 * 10**6}}
    return make_study(launch=content | {"gpus_per_node": 1, "transfer": rule | sizes_})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"rule": "power"}, "no default"),
        ({"rule": "power", "parameters_exponent": -0.5, "tokens_exponent": 0}, "source"),
        ({"rule": "power", "law": "step-law", "tokens_exponent": 0.1}, "not both"),
        ({"rule": "direct", "law": "step-law"}, "takes no law"),
        ({"rule": "ladder"}, "needs rungs"),
        ({"rule": "direct", "rungs": [{"run": "x"}]}, "reads no rungs"),
        ({"rule": "ladder", "rungs": [{"run": "x"}], "tokens_exponent": 0.3}, "where it is from"),
        ({"rule": "ladder", "rungs": [{"lr": 1e-3, "parameters": 5}]}, "missing: tokens"),
    ],
)
def test_nothing_is_assumed_in_silence(content, says):
    with pytest.raises(pydantic.ValidationError, match=says):
        TransferRule.model_validate(content)


def test_power_scales_the_lr_by_both_ratios_and_leaves_the_almr():
    study = launch({"rule": "power", "law": "step-law"})
    rule = study.launch.transfer
    found = power(winner(), study, rule, sizes.step(study, rule))
    assert found.lr == pytest.approx(2e-5 * 8**-0.713 * (2**21 / 2048) ** 0.307)
    assert found.almr == 0.4
    assert found.lr_interval.high / found.lr == pytest.approx(1.5)
    assert "2503.04715" in found.source


def test_a_stated_sd_of_an_exponent_widens_the_interval_with_the_distance():
    content = {"parameters_exponent": -0.5, "tokens_exponent": 0, "parameters_exponent_sd": 0.1, "source": "ours"}
    study = launch({"rule": "power"} | content)
    rule = study.launch.transfer
    found = power(winner(), study, rule, sizes.step(study, rule))
    half = math.hypot(math.log(1.5), 1.6449 * 0.1 * math.log(8))
    assert math.log(found.lr_interval.high / found.lr) == pytest.approx(half, rel=1e-3)


def test_power_without_the_sizes_says_which_to_state():
    study = launch({"rule": "power", "law": "step-law"})
    rule = TransferRule(rule="power", law="step-law")
    with pytest.raises(InputError, match=r"launch\.parameters"):
        power(winner(), study, rule, sizes.step(study, rule))


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
        found = ladder_setting(rungs, {"parameters": target, "tokens": 1e9}, 0.9)["lr_interval"]
        widths.append(math.log(found.high / found.low))
    assert widths[0] < widths[1] < widths[2]


def test_two_rungs_give_their_own_intervals_and_say_that_nothing_tests_the_law():
    rungs = [rung(n, 1e9, law(n, 1e9)) for n in (1e8, 1e9)]
    found = ladder_setting(rungs, {"parameters": 1e10, "tokens": 1e9}, 0.9)
    assert found["lr"] == pytest.approx(law(1e10, 1e9), rel=1e-6)
    # The line through both, one step of equal length on: 2 y2 - y1.
    half = 1.6449 * math.sqrt(5) * 0.05
    assert math.log(found["lr_interval"].high / found["lr"]) == pytest.approx(half, rel=1e-3)
    assert "no spare rung" in found["assumption"]
    assert any("the law is not tested" in warning for warning in found["warnings"])
    assert any(
        "extrapolated farther" in warning
        for warning in ladder_setting(rungs, TARGET | {"tokens": 1e9}, 0.9)["warnings"]
    )


def test_a_budget_that_no_rung_varies_needs_a_stated_exponent():
    rungs = [rung(n, 1e9, law(n, 1e9)) for n in (1e8, 4e8, 2e9)]
    with pytest.raises(InputError, match="tokens_exponent"):
        ladder_setting(rungs, TARGET, 0.9)
    found = ladder_setting(rungs, TARGET, 0.9, tokens_exponent=0.307)
    assert found["lr"] == pytest.approx(law(7e10, 1e11), rel=1e-6)
    assert not found["tokens"].fitted


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
        _, interval = line.predict(line.point({"parameters": 1e10, "tokens": 1e9}), 0.9)
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
