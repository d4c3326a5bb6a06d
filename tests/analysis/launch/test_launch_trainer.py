"""The bundle says which trainer made its numbers, and whether that one launches."""

from __future__ import annotations

import json

import pytest

from analysis.fit_file.fit_file import TrainedBy
from analysis.launch.bundle import FittedRun, confirmation, export
from analysis.launch.confirm import result, results_table
from analysis.launch.evidence.parity import ParityCheck, ParityResult, ParityRun
from analysis.transfer import bracket, rungs
from sweep.study import InputError
from sweep.study.sections.transfer import Rung
from sweep.study.study_file import dump

BY = (TrainedBy(name="llamafactory", version="llamafactory 0.9.5, torch 2.7.1", trials=4),)
SAID = BY[0].text


@pytest.fixture
def swept(make_fit):
    return make_fit(trainers=BY)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "launch"


def bundle(fit, corpora, run, out, formats, **more):
    export(FittedRun(fit, run, corpora, **more), out, formats=formats)
    evidence = json.loads((out / "evidence.json").read_text())
    lines = [line for line in (out / "GO.md").read_text().splitlines() if "trainer of the trials" in line]
    return evidence, lines, (out / "README.md").read_text()


def test_what_was_swept_is_launched(swept, corpora, run, out):
    evidence, [line], readme = bundle(swept, corpora, run, out, ("llamafactory",))
    assert evidence["same_trainer"] == {"llamafactory": True}
    assert [one["name"] for one in evidence["trainers"]] == ["llamafactory"]
    assert line == (
        f"| pass | origin | trainer of the trials | {SAID} trained the trials and launches: what was swept is "
        "launched |"
    )
    assert f"| trials trained by | {SAID} |" in readme


def test_a_launch_by_another_trainer_is_an_open_point(swept, corpora, run, out):
    evidence, lines, _ = bundle(swept, corpora, run, out, ("llamafactory", "megatron"))
    assert evidence["same_trainer"] == {"llamafactory": True, "megatron": False}
    assert [line for line in lines if line.startswith("| warn |")] == [
        f"| warn | origin | trainer of the trials | {SAID} trained the trials, but megatron would launch: almr trainer "
        "compare STUDY, or launch with the trainer of the trials |"
    ]


def test_a_parity_run_that_passed_settles_it(swept, corpora, run, out):
    check = ParityCheck(what="loss", wanted=2.0, found=2.0, bound=1.0)
    passed = ParityRun(kind="again", steps=1, checks=(check,))
    result_of = ParityResult(name="megatron", trial_id="t", precision="float32", made_from="", date="", runs=(passed,))
    _, [line, *_], _ = bundle(swept, corpora, run, out, ("megatron",), parity=(result_of,))
    assert line.startswith("| pass |")
    assert "their parity runs passed: megatron" in line


def test_trials_of_our_own_trainer_have_no_such_line(make_fit, corpora, run, out):
    own = make_fit(trainers=(TrainedBy(name="native", trials=4),))
    evidence, lines, readme = bundle(own, corpora, run, out, ("native", "megatron"))
    assert evidence["same_trainer"] == {"native": True, "megatron": False}
    assert lines == []
    assert "trained by" not in readme


def test_results_say_which_trainer_ran_them(swept, corpora, run, tmp_path):
    plan = confirmation(FittedRun(swept, run, corpora))
    assert plan.columns == ("lr", "seed", "status", "trainer", "loss_original", "loss_additional")
    assert f"the trials were trained by {SAID}" in plan.lines
    path = tmp_path / "results.csv"
    losses = [2.05, 2.02, 2.0, 2.02, 2.05]
    rows = [f"{lr},3,complete,megatron,{loss},{loss}" for lr, loss in zip(plan.lrs, losses, strict=True)]
    path.write_text("\n".join([",".join(plan.columns), *rows]))
    compared = bracket.compare(results_table.read(path, plan), plan.lr, plan.noise, plan.tolerance, plan.level)
    said = result.conclude(plan, compared, path).text
    assert said.endswith(f"(runs trained by megatron, trials by {SAID})")
    path.write_text(path.read_text().replace("megatron", "native", 2))
    with pytest.raises(InputError, match=r"the runs are of 2 trainers \('megatron': 3, 'native': 2\).*keep the rows"):
        results_table.read(path, plan)


@pytest.mark.parametrize(
    ("by", "ours", "says"),
    [
        (BY, "native", f"was trained by {SAID}, this sweep by native"),
        ((TrainedBy(name="native", trials=4),), "megatron", "was trained by native, this sweep by megatron"),
        ((), "megatron", "was trained by native, this sweep by megatron"),  # an earlier version's fit.json
        ((), "native", None),
        (BY, "llamafactory", None),
    ],
)
def test_a_rung_of_another_trainer_is_warned_of(make_fit, make_study, run, by, ours, says):
    fit = make_fit(trainers=by)
    (run / "fit.json").write_text(fit.file.model_dump_json())
    (run / "study.yaml").write_text(dump(fit.study))
    _, warnings = rungs.gather(make_study(trainer=ours, name="larger"), [Rung(run=str(run), parameters=10**6)])
    assert [says in line for line in warnings] == ([True] if says else [])
