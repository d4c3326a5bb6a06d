"""Every transfer rule beside the study's own: numbers by hand, and what a smaller rung says of each of them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from known_surfaces import Known, grid, measure
from samples import make_study

from analysis.figures.data.transfer import transfer_info
from analysis.fit.fit import fit_study
from analysis.transfer import cost
from analysis.transfer.carry import candidates
from sweep.study.sections.transfer import TransferRule
from sweep.verbs.results.verdict import verdict

LAUNCH = {
    "model": "meta-llama/Meta-Llama-3-70B",
    "tokens": 2**15,
    "global_batch_tokens": 2**11,
    "sequence_length": 2048,
    "gpus_per_node": 1,
}
SIZES = 70_553_706_496 / 8_030_261_248


def rung(parameters, lr, almr=0.4):
    ends = {"lr_low": lr / 1.1, "lr_high": lr * 1.1, "almr_low": almr - 0.05, "almr_high": almr + 0.05}
    return {"parameters": parameters, "tokens": 2048, "global_batch_tokens": 256, "lr": lr, "almr": almr} | ends


@pytest.fixture(scope="module")
def fitted():
    """16 times the tokens and 8 times the batch of a trial; the smaller rungs have twice and 1.5 times the best LR."""
    best = Known().lr
    rungs = [rung(10**9, 2 * best, Known().almr), rung(3 * 10**9, 1.5 * best, Known().almr)]
    rule = {"rule": "relative", "tokens_exponent": -0.3, "source": "ours", "rungs": rungs}
    study = make_study(base_model={"pretrained": "meta-llama/Meta-Llama-3-8B"}, launch=LAUNCH | {"transfer": rule})
    return fit_study(study, measure(Known(), grid(5, 6), noise=0.001))


def test_each_rule_says_what_it_says_by_hand(fitted):
    found = {one.rule: one for one in fitted.file.transfer_rules}
    lr, own = fitted.file.winner.lr, 16**-0.3 * 8**0.5
    assert found["direct"].lr == pytest.approx(lr * own)
    assert found["relative"].lr == pytest.approx(lr * own / 2)
    assert found["power, step-law"].lr == pytest.approx(lr * SIZES**-0.713 * 16 ** (0.307 - 0.2855) * 8**0.5)
    assert found["power, deepseek"].lr == pytest.approx(lr * (16 * SIZES) ** (-0.125 - 0.16355) * 8**0.5)
    assert found["power, token-horizon"].lr == pytest.approx(lr * SIZES**-0.23 * 16**-0.32 * 8**0.5)
    assert found["ladder"].lr < found["direct"].lr
    assert all(one.applies and one.lr_interval.low < one.lr < one.lr_interval.high for one in found.values())
    assert [name for name, one in found.items() if one.chosen] == ["relative"]
    assert found["relative"].lr == fitted.file.transfer.lr


def test_the_smaller_rungs_give_each_rule_a_regret_at_this_size(fitted):
    """`direct` would have taken 1.5 times the best LR, and Step Law 1.5 x (8.03 / 3)^-0.713 = 0.74 times."""
    found = {one.rule: one.regret for one in fitted.file.transfer_rules}
    known = Known()
    for rule, factor in (("direct", 1.5), ("power, step-law", 1.5 * (8_030_261_248 / 3e9) ** -0.713)):
        truth = known.mean(known.almr, factor * known.lr) - known.mean(known.almr, known.lr)
        assert found[rule].nats == pytest.approx(float(truth), abs=0.004)
        assert found[rule].interval.low <= found[rule].nats <= found[rule].interval.high
    assert found["relative"] is None  # the peak LR of a stated rung is not known


def test_the_regret_of_a_setting_is_over_each_draws_own_optimum_and_none_where_it_is_forbidden():
    mean = np.array([[1.0, 1.2], [np.inf, 1.5]])
    draws = np.stack([mean, mean + np.array([[0.3, 0.0], [0.0, 0.0]])])  # in the second draw, the second LR is the best
    optima = SimpleNamespace(almr=np.array([0.2, 0.8]), lr=np.array([1e-4, 1e-3]), mean=mean, draws=draws)
    with np.errstate(invalid="ignore"):
        found = cost.selection_regret(optima, 0.25, 2e-3, 0.9)
        assert cost.selection_regret(optima, 0.9, 1e-5, 0.9) is None
    assert found.nats == pytest.approx(0.2)
    assert found.interval.low == pytest.approx(0.05 * 0.2)
    assert found.interval.high == pytest.approx(0.2)


def test_the_verdict_and_the_figure_show_every_rule_that_could_be_computed(fitted):
    told = verdict(fitted)
    assert "launch, by rule relative: ALMR" in told
    [others] = [line for line in told.splitlines() if line.startswith("launch, LR by other rules:")]
    assert others.count(" to ") == 5
    info = transfer_info(fitted)
    assert [rule.chosen for rule in info.rules] == [True, *[False] * 5]
    assert info.agree.high / info.agree.low == pytest.approx(4)


def test_a_rule_that_does_not_apply_is_shown_with_its_reason(fitted):
    study = make_study(
        base_model={"pretrained": "meta-llama/Meta-Llama-3-8B"},
        launch=LAUNCH | {"transfer": {"rule": "direct"}},
    )
    file = fit_study(study, fitted.table).file
    assert file.transfer is None
    found = {one.rule: one for one in file.transfer_rules}
    assert found["direct"].lr == pytest.approx(file.winner.lr * 8**0.5)
    assert not found["direct"].applies
    assert "16 x the tokens of a trial, and rule direct has no exponent" in found["direct"].why
    assert found["power, step-law"].applies
    assert found["ladder"].lr is None
    assert "needs rungs or training.horizons" in found["ladder"].why
    told = verdict(replace(fitted, file=file))
    assert "direct" in told
    assert ", does not apply" in told


def test_the_candidates_are_those_of_the_study_and_the_published_ones():
    stated = {"parameters_exponent": -0.5, "tokens_exponent": -0.1, "source": "ours"}
    found = candidates(TransferRule(rule="power", batch_exponent=0.4, **stated))
    assert list(found)[-1] == "power, as stated"
    assert found["direct"].tokens_exponent == found["relative"].tokens_exponent == -0.1
    assert {one.batch_exponent for one in found.values()} == {0.4}
    of_law = candidates(TransferRule(rule="power", law="step-law"))
    assert "power, as stated" not in of_law
    assert of_law["direct"].source is None
