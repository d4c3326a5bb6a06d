"""Trials that misbehave, under Ray Tune: each gets a record with its cause in words, and the others go on."""

from __future__ import annotations

from pathlib import Path

import pytest
from one_ray import TwoNodes
from processes import alive
from samples import make_study
from stand_in_run import with_stand_ins

from sweep.store.run import Run
from sweep.study import Record, Status
from sweep.trials.queue import GridQueue

pytestmark = [pytest.mark.slow, pytest.mark.ray]

MINUTES = 0.1
ENDS = {
    "stopped once": (Status.COMPLETE, 2, None),
    "is well": (Status.COMPLETE, 1, None),
    "closes its output": (Status.COMPLETE, 1, None),
    "is infinite": (Status.DIVERGED, 1, "the held-out loss of original is not finite, or was not measured"),
    "crashes": (Status.FAILED, 2, "crashed in native code: Segmentation fault (its stack is in the log)"),
    "exits": (Status.FAILED, 2, "it called sys.exit('no GPU here')"),
    "raises oddly": (Status.FAILED, 2, "trainers.trials.cpt.OddError: 429: slow down see the documentation"),
    "has no package": (
        Status.FAILED,
        2,
        "the worker cannot import its code: No module named 'no_such_package' (ModuleNotFoundError): install it on "
        "every node",
    ),
}


def misbehaving(folder: Path) -> Run:
    """A run whose trials each do one of `ENDS`, in the staged code's stand-in for the training."""
    share = 1 / len(ENDS)
    resources = {"retries": 1, "hang_minutes": MINUTES, "concurrent": 2}
    study = make_study(grid={"almr": [share * i for i in range(len(ENDS))], "lr": [1e-3]}, resources=resources)
    stand_in = Path(__file__).with_name("misbehaving_stand_in.py").read_text()
    run = with_stand_ins(folder, study, {"trainers/trials/cpt.py": stand_in})
    for trial, how in zip(study.grid_trials, ENDS, strict=True):
        run.trial_folder(trial).mkdir(parents=True)
        (run.trial_folder(trial) / "behaviour").write_text(how)
    return run


@pytest.mark.timeout(300)
def test_each_gets_its_cause_in_words_and_the_others_go_on(
    two_nodes: TwoNodes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from sweep import controller

    run = misbehaving(tmp_path / "run")
    study, ended = run.study(), list[Record]()

    def watch(trial: object, record: Record | None) -> None:
        ended.extend([record] if record else [])

    controller.run_trials(study, run, lambda n: GridQueue(study, run, study.grid_trials, n), watch, two_nodes.address)
    records = {how: run.record(trial) for how, trial in zip(ENDS, study.grid_trials, strict=True)}
    assert {how: (r.status, r.attempt, r.reason) for how, r in records.items() if r} == ENDS
    assert len(ended) == len(ENDS)
    stopped = run.trial_folder(study.grid_trials[0])
    assert not alive(stopped / "child"), "a child that outlived its worker"
    assert (
        f"no heartbeat for {MINUTES:g} minutes (resources.hang_minutes), and its process was stopped"
        in (stopped / "train.log").read_text()
    )
    assert "(raylet)" not in "".join(capfd.readouterr()), "Ray's own account of a lost worker, on standard output"
