"""A fitted sweep carried to its launch: what the fit file says beside the setting."""

import math

import pytest
from known_surfaces import Known, grid, measure
from samples import make_study

from analysis.fit.fit import fit_study
from sweep.study.study_file import dump

pytestmark = pytest.mark.slow
LAUNCH = {
    "model": "meta-llama/Meta-Llama-3-70B",
    "tokens": 2**21,
    "global_batch_tokens": 2**14,
    "sequence_length": 2048,
    "gpus_per_node": 1,
}


def study(**transfer):
    """1,024 times the tokens of a trial, which are accepted; without a rule, 8 times."""
    given = {"transfer": {"accept_token_ratio": 1024} | transfer}
    near = {"tokens": 2**14, "global_batch_tokens": 2**12}
    launch = LAUNCH | (given if transfer else near)
    return make_study(base_model={"pretrained": "meta-llama/Meta-Llama-3-8B"}, launch=launch)


@pytest.fixture(scope="module")
def table():
    return measure(Known(), grid(4, 5), noise=0.001)


@pytest.fixture(scope="module")
def direct(table):
    return fit_study(study(rule="direct"), table).file


def test_a_rule_that_is_not_named_is_said(table):
    found = fit_study(study(), table).file.transfer
    assert found.rule == "direct"
    assert "launch.transfer is not set" in found.warnings[0]


def test_the_edge_falls_with_size_as_stated(direct):
    edge = direct.transfer.edge
    assert edge.lr == pytest.approx(direct.divergence.lr * (70_553_706_496 / 8_030_261_248) ** (-1 / 3))
    assert edge.factor == pytest.approx(edge.lr / direct.transfer.lr)
    assert not edge.measured
    assert "2203.03466" in edge.assumption


def test_the_cost_of_an_lr_off_by_two_is_that_of_the_surface(direct):
    known = Known()
    for factor, cost in ((0.5, direct.transfer.lr_cost.half), (2.0, direct.transfer.lr_cost.double)):
        truth = known.mean(known.almr, factor * known.lr) - known.mean(known.almr, known.lr)
        assert cost.nats == pytest.approx(float(truth), abs=0.004)
        assert cost.interval.low <= cost.nats <= cost.interval.high


def test_differences_of_horizon_and_history_are_warned_of(direct):
    text = "\n".join(direct.transfer.warnings)
    assert "training tokens" in text
    assert "8.8 x apart" in text


def test_a_ladder_reads_the_fit_of_a_smaller_run(table, direct, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    winner = direct.winner.model_copy(update={"lr": 2 * direct.winner.lr})
    spread = direct.winner.lr_interval
    winner = winner.model_copy(update={"lr_interval": type(spread)(low=2 * spread.low, high=2 * spread.high)})
    (small / "fit.json").write_text(direct.model_copy(update={"winner": winner}).model_dump_json())
    (small / "study.yaml").write_text(dump(make_study()))
    rule = {"rule": "ladder", "rungs": [{"run": str(small), "parameters": 10**9}]}
    stated = {"tokens_exponent": 0, "source": "no effect, by assumption"}
    found = fit_study(study(**rule, **stated), table).file.transfer
    exponent = -math.log(2) / math.log(8_030_261_248 / 10**9)
    assert found.parameters.value == pytest.approx(exponent, rel=1e-6)
    by_size = (70_553_706_496 / 8_030_261_248) ** exponent
    assert found.lr == pytest.approx(direct.winner.lr * by_size * 64**0.5, rel=1e-6)
    assert [rung.name for rung in found.rungs] == [str(small), "small"]


def test_a_ladder_without_its_run_is_refused_with_the_fix(table, tmp_path):
    file = fit_study(study(rule="ladder", rungs=[{"run": str(tmp_path / "gone")}]), table).file
    assert file.transfer is None
    [refusal] = [finding for finding in file.refusals if finding.code == "transfer"]
    assert "gone/fit.json: No such file or directory: name the folder of a finished run" in refusal.message


def test_a_run_as_its_own_rung_is_refused_wherever_it_lies(table, direct, tmp_path):
    own, other = ({"rule": "ladder", "rungs": [{"run": str(tmp_path / name)}]} for name in ("copied", "other"))
    for name, of in (("copied", study(**own)), ("other", study(**other).model_copy(update={"name": "of-8b"}))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fit.json").write_text(direct.model_dump_json())
        (tmp_path / name / "study.yaml").write_text(dump(of))
    [refusal] = [one for one in fit_study(study(**own), table).file.refusals if one.code == "transfer"]
    assert "copied is this study's own run, and its sweep is a rung already: name the runs of other" in refusal.message
    [refusal] = [one for one in fit_study(study(**other), table).file.refusals if one.code == "transfer"]
    assert "own run" not in refusal.message  # another sweep of the same size determines nothing else


def test_a_repeated_corpus_is_named_by_its_language_and_the_launchs_passes_are_left_to_the_export(table):
    """The export counts them over the launch's corpus, which includes what the trials hold out."""
    named = {
        "original": {"embedded": "shakespeare", "language": "English"},
        "additional": {"embedded": "three-kingdoms", "language": "Chinese"},
    }
    one = study(rule="direct").model_copy(update={"corpora": make_study(corpora=named).corpora})
    passes = {"epochs_original": 0.03 * (1 - table["almr"]) / 0.5, "epochs_additional": 0.0 * table["almr"]}
    warnings = fit_study(one, table.assign(**passes)).file.transfer.warnings
    [found] = [warning for warning in warnings if "corpus" in warning]
    assert found.startswith("English corpus: a trial reads 3 % of it, the launch 1,020 x as many tokens of it")
