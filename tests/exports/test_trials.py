"""Trials by the real trainers, from request to record, on this machine: alone, killed, and on two nodes.

`make test-exports` runs these as it does the parity runs: each trainer in its own environment, on a CPU.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from sweep.external import choose
from sweep.external.runs import halfway
from sweep.external.trial import flow
from sweep.external.trial.node import TrainerProcesses
from sweep.external.trial.nodes import WatchedNodes
from sweep.store.run import Run
from sweep.study import InputError, Record, Study
from sweep.study.study_file import load
from sweep.worker import run_trial
from sweep.worker.group.monitor import WorkerGroupError
from trainers import prepare

pytestmark = [pytest.mark.exports, pytest.mark.timeout(3600)]
CPU = Path(__file__).parent / "cpu"
NAMES = ("llamafactory", "axolotl", "torchtitan", "megatron")
OWN_ORDER = ("megatron",)  # trainers that shuffle by themselves
SAME, SIMILAR = 1e-3, 0.03  # nats, of held-out losses


def study(name: str, **changes) -> Study:
    """A trial of the demo near its winner, of 20 steps."""
    content = load("demo").model_dump(mode="json", by_alias=True)
    content["training"] |= {"tokens": 40_960}
    on_cpu = {"PYTHONPATH": str(CPU / name)} if (CPU / name).is_dir() else {}
    none = dict.fromkeys(("search", "benchmarks", "launch"))
    content = {key: value for key, value in content.items() if key not in none}
    grid = {"almr": [0.6], "lr": [3.347e-3]}
    named = {"name": name, "variables": on_cpu} if name != "native" else "native"
    return Study.model_validate(content | {"grid": grid, "trainer": named} | changes)


def run_of(folder: Path, of: Study) -> Run:
    run = Run(folder)
    run.folder.mkdir(parents=True)
    run.keep_ingredients(prepare.prepare(of))
    run.freeze(of)
    return run


def nodes(run: Run, of: Study) -> WatchedNodes:
    """Those beyond the first are on this machine as well."""
    [trial] = of.grid_trials
    return WatchedNodes(run.files.trial(trial.id), of.resources, "127.0.0.1", TrainerProcesses)


def train(run: Run, of: Study) -> Record:
    try:
        trainer = choose.trainer(of)
    except InputError as error:
        pytest.skip(str(error))
    if of.trainer.name == "megatron" and not os.environ.get("MEGATRON"):
        pytest.skip("set MEGATRON to a checkout of Megatron-LM core_v0.16.1")
    return flow.carry_out(run, of.grid_trials[0], trainer, nodes(run, of))


@pytest.fixture(scope="module")
def native(tmp_path_factory) -> Record:
    of = study("native")
    run = run_of(tmp_path_factory.mktemp("native") / "run", of)
    return run_trial.carry_out(run, of, of.grid_trials[0], run.start(of.grid_trials[0], of))


def assert_same(found: Record, wanted: Record, within: float) -> None:
    assert found.base_loss == wanted.base_loss
    assert found.loss.original == pytest.approx(wanted.loss.original, abs=within)
    assert found.loss.additional == pytest.approx(wanted.loss.additional, abs=within)
    assert (found.steps, found.tokens, found.epochs) == (wanted.steps, wanted.tokens, wanted.epochs)
    assert found.almr_achieved == pytest.approx(wanted.almr_achieved, abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_has_the_losses_of_our_own(tmp_path, native, name):
    of = study(name)
    found = train(run_of(tmp_path / "run", of), of)
    assert found.trainer.name == name
    assert found.trainer.version
    assert_same(found, native, SIMILAR if name in OWN_ORDER else SAME)


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_that_is_killed_goes_on_from_its_checkpoint(tmp_path, native, name):
    of = study(name)
    run = run_of(tmp_path / "run", of)
    [trial] = of.grid_trials
    folder = run.trial_folder(trial) / "trainer" / "main"

    def kill_at_a_checkpoint() -> None:
        """The processes of the trainer, which work in the folder of its start.sh."""
        while halfway.newest(name, folder / "checkpoints") is None:
            time.sleep(0.05)
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                if (process / "cwd").readlink() == folder / "launch":
                    os.kill(int(process.name), signal.SIGKILL)

    threading.Thread(target=kill_at_a_checkpoint, daemon=True).start()
    with pytest.raises(WorkerGroupError):
        train(run, of)
    found = train(run, of)
    assert found.attempt == 2
    assert found.provenance["execution"]["gone_on_from_steps"][0] > 0
    assert_same(found, native, SIMILAR if name in OWN_ORDER else SAME)


def test_two_nodes_train_one_trial(tmp_path, native):
    of = study("llamafactory", resources={"nodes": 2})
    found = train(run_of(tmp_path / "run", of), of)
    assert found.provenance["execution"]["workers"] == 2
    assert_same(found, native, SAME)
