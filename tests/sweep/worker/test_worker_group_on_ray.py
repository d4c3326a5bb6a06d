"""Worker groups on a Ray cluster of two nodes: two at once, and no resource held after a stop, a crash and a hang."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from one_ray import CPUS, TwoNodes
from samples import make_study
from stand_in_run import with_stand_ins

from sweep.store.run import Run
from sweep.study import Record, Status, Study, Trial

pytestmark = [pytest.mark.slow, pytest.mark.ray]

DRIVER = """
import sys
from pathlib import Path
from sweep import controller
from sweep.trials.queue import GridQueue
from sweep.store.run import Run
run = Run(Path(sys.argv[1]))
study = run.study()
def queue(at_once):
    print("at once:", at_once, flush=True)
    return GridQueue(study, run, run.left(study.grid_trials), at_once)
try:
    controller.run_trials(study, run, queue, lambda trial, record: None, sys.argv[2])
except KeyboardInterrupt:
    sys.exit(130)
"""


class Cluster:
    """The cluster of two nodes, seen through a connection of this process."""

    def __init__(self, nodes: TwoNodes) -> None:
        import ray

        self.ray, self.address, self.seconds = ray, nodes.address, nodes.seconds
        ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")

    def free(self) -> bool:
        return bool(self.ray.available_resources().get("CPU") == 2 * CPUS)

    def groups(self) -> list[set[str]]:
        """The nodes of each placement group that exists."""
        table = self.ray.util.placement_group_table().values()
        return [set(group["bundles_to_node_id"].values()) for group in table if group["state"] == "CREATED"]


@pytest.fixture
def cluster(two_nodes: TwoNodes) -> Iterator[Cluster]:
    seen = Cluster(two_nodes)
    yield seen
    seen.ray.shutdown()


def two_trials(folder: Path, **resources: Any) -> tuple[Run, Study]:
    """A run of two trials on two nodes each, whose staged code has the stand-in for the training."""
    study = make_study(grid={"almr": [0.2, 0.6], "lr": [1e-3]}, resources={"nodes": 2, "retries": 0} | resources)
    stand_in = Path(__file__).with_name("worker_group_stand_in.py").read_text()
    return with_stand_ins(folder, study, {"trainers/trials/cpt.py": stand_in}), study


def behave(run: Run, trials: list[Trial], *how: str | None) -> None:
    for trial, behaviour in zip(trials, how, strict=True):
        folder = run.trial_folder(trial)
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("rank*.pid"), folder / "behaviour"):
            old.unlink(missing_ok=True)
        if behaviour:
            (folder / "behaviour").write_text(behaviour)


def drive(run: Run, address: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DRIVER, str(run.folder), address]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=run.folder, **pipes)


def ended(driver: subprocess.Popen[str], status: int = 0) -> str:
    out, _ = driver.communicate(timeout=200)
    assert driver.returncode == status, out
    return out


def wait_until(true: Callable[[], Any], driver: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 240
    while not true():
        assert driver is None or driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline, "not within the time limit"
        time.sleep(0.1)


def pids(run: Run) -> list[int]:
    found = [path.read_text() for path in run.folder.glob("trials/*/rank*.pid")]
    return [int(text) for text in found if text.endswith("\n")]


def of_this_run(run: Run) -> list[str]:
    """The live processes that name the run: supervisors, torchruns and ranks."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_text().replace("\0", " ")
        except OSError:  # it ended meanwhile
            continue
        if str(run.folder) in command and "sweep." in command:
            found.append(command)
    return found


def records(run: Run, trials: list[Trial]) -> list[Record]:
    found = [run.record(trial) for trial in trials]
    assert all(found)
    return [record for record in found if record]


@pytest.mark.timeout(600)
def test_two_worker_groups_at_once_hold_nothing_after_a_crash_a_hang_and_a_stop(
    cluster: Cluster, tmp_path: Path
) -> None:
    patience = round(max(12, 1.5 * cluster.seconds) / 60, 2)
    run, study = two_trials(tmp_path / "run", hang_minutes=patience)
    trials = study.grid_trials
    behave(run, trials, "crash", "hang")
    driver = drive(run, cluster.address)
    wait_until(lambda: len(cluster.groups()) == 2, driver)
    assert [len(nodes) for nodes in cluster.groups()] == [2, 2], "each worker group on two nodes"
    assert "at once: 2" in ended(driver)
    assert not of_this_run(run), "a record is written after the processes are gone"
    wait_until(cluster.free)
    crashed, hung = records(run, trials)
    assert (crashed.status, hung.status) == (Status.FAILED, Status.FAILED)
    assert crashed.reason == "rank 1 was killed by SIGKILL (the machine's memory may be full)"
    assert hung.reason == f"the trial hung: no heartbeat for {patience:g} minutes (resources.hang_minutes)"
    assert "in misbehave" in run.log(trials[1], 1).read_text(), "the log says where a rank hung"

    run, study = two_trials(tmp_path / "run")
    behave(run, trials, None, "wait")
    driver = drive(run, cluster.address)
    wait_until(lambda: len(pids(run)) == 4 and records(run, trials)[0].attempt == 2, driver)
    driver.send_signal(signal.SIGINT)
    ended(driver, status=130)
    wait_until(lambda: not of_this_run(run))
    wait_until(cluster.free)
    resumed, stopped = records(run, trials)
    assert resumed.status is Status.COMPLETE
    assert resumed.loss.original == 2.0, "two ranks added up"
    assert resumed.provenance["code_sha256"] == run.code_sha256()
    _, _, second = run.log(trials[0]).read_text().partition("--- attempt 2\n")
    # torchrun may end a rank that is slow to exit, which then says where it was.
    assert "rank 0 of 2 is done\n" in second
    assert stopped == hung, "what was stopped is left as it was"
    assert run.left(trials) == [trials[1]]


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_a_stopped_process_of_a_worker_group_is_killed_with_its_ranks_and_the_trial_tried_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    patience = round(max(6, cluster.seconds) / 60, 2)
    run, study = two_trials(tmp_path / "run", hang_minutes=patience, retries=1)
    behave(run, study.grid_trials, "stop", None)
    driver = drive(run, cluster.address)
    stopped = run.trial_folder(study.grid_trials[0])
    wait_until(lambda: (stopped / "rank1.pid").exists(), driver)
    first = pids(run)
    ended(driver)
    assert not of_this_run(run)
    assert not [pid for pid in first if Path(f"/proc/{pid}").exists()]
    assert [(r.status, r.attempt) for r in records(run, study.grid_trials)] == [
        (Status.COMPLETE, 2),
        (Status.COMPLETE, 1),
    ]
    assert "(resources.hang_minutes), and its process was stopped" in (stopped / "train.log").read_text()
