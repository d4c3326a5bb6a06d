"""The cause of a worker group's failure, and what counts as a hang."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sweep.worker.group import monitor
from sweep.worker.group.monitor import PortTakenError, WorkerGroupError, wait_for_nodes
from sweep.worker.group.node import NodeOutcome, RankFailure
from sweep.worker.watch.silence import Silence
from trainers.workers.heartbeat import Heartbeat


class FakeNode:
    """A node with a given outcome."""

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
    monkeypatch.setattr(monitor, "SECONDS_BETWEEN", 0.001)
    monkeypatch.setattr(monitor, "SETTLE_SECONDS", 0.01)


def reason(folder: Path, *nodes: NodeOutcome | None, minutes: float = 1.0) -> str:
    fakes = [FakeNode(outcome) for outcome in nodes]
    with pytest.raises(WorkerGroupError) as raised:
        wait_for_nodes(fakes, Silence(folder / "heartbeat"), minutes, lambda rank: f"last line of {rank}")
    assert all(fake.stopped for fake in fakes), "a node was left running"
    return str(raised.value)


def test_all_nodes_ending_well_is_the_end(tmp_path: Path) -> None:
    fakes = [FakeNode(NodeOutcome()), FakeNode(NodeOutcome())]
    wait_for_nodes(fakes, Silence(tmp_path / "heartbeat"), 1.0, str)
    assert all(fake.stopped for fake in fakes)


CONSEQUENCE = "RuntimeError: [pair.cc:547] Connection closed by peer [10.0.0.2]:1234"


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (RankFailure(0, 1, CONSEQUENCE, 7), RankFailure(1, -9, None, 8), "rank 1 was killed by SIGKILL"),
        (
            RankFailure(0, 1, "ValueError: bad\nand more", 7),
            RankFailure(1, 1, CONSEQUENCE, 7),
            "rank 0: ValueError: bad and more",
        ),
        (
            RankFailure(0, 1, CONSEQUENCE, 7),
            RankFailure(None, 1, "node 1 of the worker group was lost: it died"),
            "node 1 of the worker group was",
        ),
        (RankFailure(0, 1, CONSEQUENCE, 7), RankFailure(None, -9), "torchrun was killed by SIGKILL"),
        (RankFailure(0, 1, "E: late", 9), RankFailure(1, 1, "E: early", 8), "rank 1: E: early"),
        (RankFailure(0, 3, None, 7), RankFailure(1, 1, CONSEQUENCE, 6), "rank 0 ended with status 3: last line of 0"),
    ],
)
def test_the_cause_is_reported_not_its_consequences(
    tmp_path: Path, first: RankFailure, second: RankFailure, words: str
) -> None:
    found = reason(tmp_path, NodeOutcome((first,)), NodeOutcome((second,)))
    assert found.startswith(words)
    assert len(found.splitlines()) == 1


def test_the_others_are_stopped_when_one_node_fails(tmp_path: Path) -> None:
    assert (
        reason(tmp_path, None, NodeOutcome((RankFailure(3, 1, "OSError: disk full"),))) == "rank 3: OSError: disk full"
    )


def test_a_taken_port_is_to_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(PortTakenError):
        wait_for_nodes([FakeNode(NodeOutcome((RankFailure(None, 98),)))], Silence(tmp_path / "heartbeat"), 1.0, str)


def test_processes_that_cannot_be_killed_are_reported_and_the_other_nodes_are_stopped(tmp_path: Path) -> None:
    fakes = [FakeNode(NodeOutcome(), stoppable=False), FakeNode(NodeOutcome())]
    with pytest.raises(WorkerGroupError, match="a1 could not be killed"):
        wait_for_nodes(fakes, Silence(tmp_path / "heartbeat"), 1.0, str)
    assert fakes[1].stopped


def test_a_node_that_cannot_be_stopped_hides_not_why_the_group_ended(tmp_path: Path) -> None:
    lost = FakeNode(NodeOutcome((RankFailure(0, 1, "ValueError: bad"),)), stoppable=False)
    with pytest.raises(WorkerGroupError) as raised:
        wait_for_nodes([lost], Silence(tmp_path / "heartbeat"), 1.0, str)
    assert str(raised.value) == "rank 0: ValueError: bad; processes on a1 could not be killed"


def test_a_heartbeat_of_an_earlier_attempt_does_not_count_and_its_absence_is_a_hang(tmp_path: Path) -> None:
    Heartbeat(tmp_path).signal()
    os.utime(tmp_path / "heartbeat", (1, 1))
    assert Silence(tmp_path / "heartbeat").seconds < 1
    assert reason(tmp_path, None, minutes=0.002).startswith("the trial hung: no heartbeat for 0.002 minutes")
