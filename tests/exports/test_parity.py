"""Every trainer really trains the demo's model, on this machine, and ends where our own trainer does.

`make test-exports` runs these, each trainer in its own environment. The trials have no GPU: what a trainer lacks to
train on a CPU is in `cpu/NAME`, which goes on its PYTHONPATH: no file of it is changed.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.launch.bundle import FORMATS
from analysis.launch.evidence.parity import shown
from sweep.external.parity import kept, parity
from sweep.external.runs import start
from sweep.store.run import Run
from sweep.study import Study
from sweep.study.study_file import load
from sweep.worker import run_trial as worker
from trainers import prepare as trainers_prepare

pytestmark = [pytest.mark.exports, pytest.mark.timeout(3600)]
CPU = Path(__file__).parent / "cpu"
POINT = {"almr": [0.6], "lr": [3.347e-3]}  # a trial of the demo near its winner
BUDGETS = {"whole": (163_840, False), "masked": (40_960, True)}


def environment(name):
    found, on_cpu = start.environment(name), CPU / name
    variables = {"PYTHONPATH": str(on_cpu)} if on_cpu.is_dir() else {}
    if name == "megatron" and not os.environ.get("MEGATRON"):
        return replace(found, why_not="set MEGATRON to a checkout of Megatron-LM core_v0.16.1")
    return replace(found, variables=variables)


@pytest.fixture(scope="module", params=BUDGETS)
def prepared(request, tmp_path_factory):
    """The parity runs of a trial of the demo: with its whole budget, and a short one with document masking."""
    tokens, masked = BUDGETS[request.param]
    content = load("demo").model_dump(mode="json", by_alias=True)
    content["training"] |= {"tokens": tokens, "document_masking": masked, "log_every": 1}
    none = dict.fromkeys(("search", "benchmarks", "launch"))
    content = {name: value for name, value in content.items() if name not in none} | {"grid": POINT}
    study, run = Study.model_validate(content), Run(tmp_path_factory.mktemp(request.param) / "run")
    run.folder.mkdir()
    run.keep_ingredients(trainers_prepare.prepare(study))
    run.freeze(study)
    [trial] = study.grid_trials
    record = worker.carry_out(run, study, trial, run.start(trial, study))
    recipe = parity.Recipe(run, kept.repeated(run, record), {}, environment)
    return request.param, parity.prepare(recipe)


@pytest.mark.parametrize("name", sorted(FORMATS, key=lambda name: name != "native"))
def test_a_trainer_trains_as_our_own_does(prepared, name, capsys):
    which, runs = prepared
    found = runs.of(name)
    with capsys.disabled():
        print(f"\n{which}:", *shown((found,)), sep="\n")
    if found.why_not:
        pytest.skip(f"{name}: {found.why_not}")
    assert found.state == "pass", found.text
    kinds = [run.kind for run in found.runs]
    assert kinds == (["again", "resumed"] if name == "native" else ["again", "borders", "resumed"])
