"""Who is to blame when a gang fails, what a hang is, and how often a trial fits on a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from samples import make_study

from sweep.planning import plan
from sweep.study.errors import InputError
from sweep.study.sections.resources import Resources
from sweep.trials import capacity
from sweep.worker import hang
from sweep.worker.group import follow as following
from sweep.worker.group.follow import PortTakenError, WorkerGroupError, follow
from sweep.worker.group.node import NodeOutcome, RankFailure
from sweep.worker.hang import HeartbeatWatch
from trainers.workers.heartbeat import Heartbeat


class Puppet:
    """A node that ends as it is told to."""

    def __init__(self, outcome: NodeOutcome | None, stoppable: bool = True) -> None:
        self.outcome, self.stoppable, self.stopped = outcome, stoppable, False

    def poll(self) -> NodeOutcome | None:
        return self.outcome

    def stop(self) -> None:
        self.stopped = True
        if not self.stoppable:
            raise TimeoutError("processes on a1 could not be killed")


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "SECONDS_BETWEEN", 0.001)
    monkeypatch.setattr(following, "SETTLE_SECONDS", 0.01)


def reason(folder: Path, *nodes: NodeOutcome | None, minutes: float = 1.0) -> str:
    puppets = [Puppet(outcome) for outcome in nodes]
    with pytest.raises(WorkerGroupError) as raised:
        follow(puppets, HeartbeatWatch(folder), minutes, lambda rank: f"last words of {rank}")
    assert all(puppet.stopped for puppet in puppets), "a node was left running"
    return str(raised.value)


def test_all_nodes_ending_well_is_the_end(tmp_path: Path) -> None:
    puppets = [Puppet(NodeOutcome()), Puppet(NodeOutcome())]
    follow(puppets, HeartbeatWatch(tmp_path), 1.0, str)
    assert all(puppet.stopped for puppet in puppets)


MISSED = "RuntimeError: [pair.cc:547] Connection closed by peer [10.0.0.2]:1234"


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (RankFailure(0, 1, MISSED, 7), RankFailure(1, -9, None, 8), "rank 1 was killed by SIGKILL"),
        (RankFailure(0, 1, "ValueError: bad\nand more", 7), RankFailure(1, 1, MISSED, 7), "rank 0: ValueError: bad"),
        (
            RankFailure(0, 1, MISSED, 7),
            RankFailure(None, 1, "node 1 of the gang was lost: it died"),
            "node 1 of the gang was",
        ),
        (RankFailure(0, 1, MISSED, 7), RankFailure(None, -9), "torchrun was killed by SIGKILL"),
        (RankFailure(0, 1, "E: late", 9), RankFailure(1, 1, "E: early", 8), "rank 1: E: early"),
        (RankFailure(0, 3, None, 7), RankFailure(1, 1, MISSED, 6), "rank 0 ended with status 3: last words of 0"),
    ],
)
def test_the_cause_is_blamed_not_who_missed_a_partner(
    tmp_path: Path, first: RankFailure, second: RankFailure, words: str
) -> None:
    told = reason(tmp_path, NodeOutcome((first,)), NodeOutcome((second,)))
    assert told.startswith(words)
    assert len(told.splitlines()) == 1


def test_the_others_are_stopped_when_one_node_fails(tmp_path: Path) -> None:
    assert (
        reason(tmp_path, None, NodeOutcome((RankFailure(3, 1, "OSError: disk full"),))) == "rank 3: OSError: disk full"
    )


def test_a_taken_port_is_to_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(PortTakenError):
        follow([Puppet(NodeOutcome((RankFailure(None, 98),)))], HeartbeatWatch(tmp_path), 1.0, str)


def test_processes_that_cannot_be_killed_are_said_and_the_other_nodes_stopped_all_the_same(tmp_path: Path) -> None:
    puppets = [Puppet(NodeOutcome(), stoppable=False), Puppet(NodeOutcome())]
    with pytest.raises(WorkerGroupError, match="a1 could not be killed"):
        follow(puppets, HeartbeatWatch(tmp_path), 1.0, str)
    assert puppets[1].stopped


def test_a_beat_of_an_earlier_attempt_is_no_hang_and_silence_is(tmp_path: Path) -> None:
    Heartbeat(tmp_path).beat()
    os.utime(tmp_path / "heartbeat", (1, 1))
    assert HeartbeatWatch(tmp_path).seconds < 1
    assert reason(tmp_path, None, minutes=0.002).startswith("it hung: no sign of life for 0.002 minutes")


HANGS = """
import sys, time
from pathlib import Path
from sweep.worker import hang
folder = Path(sys.argv[1])
with hang.killed_when_silent(folder, 0.005, folder / "train.log"):
    time.sleep(60)
"""


def test_a_trial_in_a_warm_worker_that_hangs_takes_the_worker_with_it(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", HANGS, str(tmp_path)], timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "train.log").read_text().startswith(f"{hang.KILLED}it hung: no sign of life")


def node(cpus: float, gpus: float = 0) -> capacity.Node:
    return {"CPU": cpus, "GPU": gpus, "memory": 1e9}


@pytest.mark.parametrize(
    ("nodes", "asked", "fits"),
    [
        ([node(4)], {"cpus": 2}, 2),
        ([node(64, 8)], {"gpus_per_node": 4, "cpus_per_gpu": 8}, 2),
        ([node(32, 8)], {"gpus_per_node": 4, "cpus_per_gpu": 8}, 1),
        ([node(64, 8)] * 2, {"nodes": 2, "gpus_per_node": 4}, 2),
        ([node(64, 8)] * 3, {"nodes": 2, "gpus_per_node": 8}, 1),
        ([node(640, 80), node(8, 1)], {"nodes": 2, "gpus_per_node": 1}, 1),  # nodes of a trial are different machines
        ([node(64, 8)] * 3, {"nodes": 2, "gpus_per_node": 4}, 3),
        ([node(64, 8)] * 9, {"gpus_per_node": 8, "concurrent": 4}, 4),
        ([node(64, 8), node(64)], {"gpus_per_node": 8}, 1),
    ],
)
def test_trials_at_once_are_the_placement_groups_that_fit(
    nodes: list[capacity.Node], asked: dict[str, int], fits: int
) -> None:
    capacity.refuse_impossible(nodes, Resources(**asked))
    assert capacity.at_once(nodes, Resources(**asked)) == fits


@pytest.mark.parametrize(
    ("nodes", "asked", "words"),
    [
        ([node(4)], {"cpus": 8}, "resources.cpus: a trial needs 8 CPUs of one node, the largest node has 4"),
        ([node(4)], {"processes": 8}, "resources.processes: a trial needs 8 CPUs of one node"),
        ([node(64, 4)], {"gpus_per_node": 8}, "resources.gpus_per_node: a trial needs 8 GPUs of one node"),
        ([node(16, 8)], {"gpus_per_node": 8}, "resources.cpus_per_gpu: a trial needs 64 CPUs of one node"),
        ([node(16, 8), node(64)], {"gpus_per_node": 8}, "resources.nodes: 0 of the cluster's 2 nodes have 64 CPUs and"),
        ([node(64, 8)], {"nodes": 2, "gpus_per_node": 4}, "resources.nodes: 1 of the cluster's 1 nodes have 32 CPUs"),
    ],
)
def test_what_would_wait_for_ever_is_refused_in_one_line(
    nodes: list[capacity.Node], asked: dict[str, int], words: str
) -> None:
    with pytest.raises(InputError) as raised:
        capacity.refuse_impossible(nodes, Resources(**asked))
    assert str(raised.value).startswith(words)
    assert len(str(raised.value).splitlines()) == 1


def test_only_the_cluster_knows_how_many_gangs_of_several_nodes_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    training = {"sequence_length": 32, "tokens": 2048, "global_batch_tokens": 256, "evaluation_tokens": 256}

    def concurrency(**resources: int) -> int | None:
        return plan.concurrency(make_study(resources=resources, training=training))

    assert concurrency(processes=2, cpus=2) == 2
    assert concurrency(nodes=2) is None
    assert concurrency(nodes=2, concurrent=3) == 3
