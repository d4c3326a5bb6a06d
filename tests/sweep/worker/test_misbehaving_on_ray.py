"""Trials that misbehave, under Ray Tune: each gets a record with its cause in words, and the others go on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from one_ray import TwoNodes
from processes import alive
from samples import make_study
from stand_in_run import with_stand_ins

from sweep.store.run import Run
from sweep.study import Record, Status, Trial
from sweep.trials.queue import GridQueue, Turn

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


FREE_WORKERS = """
import os
from ray.tune.trainable import Trainable
from sweep.study import PerLanguage, Record, Status

def run_trial(study, trial, ingredients, folder, attempt=1):
    (folder / "pid").write_text(str(os.getpid()))
    if trial.lr == 1e-3:
        for kind in below(Trainable):
            kind.reset_config = lambda self, config: False  # as where a thread of the trial still runs
    of = {"trial_id": trial.id, "fingerprint": study.fingerprint, "attempt": attempt, "status": Status.COMPLETE}
    return Record(**trial.model_dump(), **of, loss=PerLanguage(original=2.0, additional=1.0))

def below(kind):
    return [kind, *(lower for each in kind.__subclasses__() for lower in below(each))]
"""


class KillsFreeWorkers(GridQueue):
    """Kills the worker of the second trial, while it is free, before the third one."""

    def next(self) -> Trial | Turn:
        _, second, third = self.study.grid_trials
        if self.left == [third] and not self.running:
            os.kill(int((self.run.trial_folder(second) / "pid").read_text()), signal.SIGKILL)
        return super().next()


@pytest.mark.timeout(120)
def test_a_trial_that_is_given_to_a_free_worker_which_is_lost_is_given_to_another_one(
    two_nodes: TwoNodes, tmp_path: Path
) -> None:
    from sweep import controller

    grid, resources = {"almr": [0.5], "lr": [1e-3, 2e-3, 3e-3]}, {"retries": 0, "concurrent": 1}
    study = make_study(grid=grid, resources=resources)
    run, nobody = with_stand_ins(tmp_path / "run", study, {"trainers/trials/cpt.py": FREE_WORKERS}), lambda *_: None
    queue = lambda n: KillsFreeWorkers(study, run, study.grid_trials, n)  # noqa: E731
    controller.run_trials(study, run, queue, nobody, two_nodes.address)
    records = [run.record(trial) for trial in study.grid_trials]
    assert [(r.status, r.attempt) for r in records if r] == [(Status.COMPLETE, 1)] * 3
    assert len({(run.trial_folder(trial) / "pid").read_text() for trial in study.grid_trials}) == 3
