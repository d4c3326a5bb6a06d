"""Programs on a trial's nodes: how they end, why, and that nothing of them is left."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from processes import alive

from sweep.external.trial.growth import GrowthWatch
from sweep.external.trial.job import NodeCommand
from sweep.external.trial.node import TrainerProcesses
from sweep.external.trial.nodes import WatchedNodes
from sweep.study.files.layout import TrialFiles
from sweep.study.sections.resources import Resources
from sweep.worker.group.monitor import WorkerGroupError
from sweep.worker.watch.silence import LONGEST_LOOK


def nodes(folder: Path, **resources) -> WatchedNodes:
    """The trial's nodes; those beyond the first are on this machine as well."""
    folder.mkdir(exist_ok=True)
    return WatchedNodes(TrialFiles(folder), Resources(**resources), "127.0.0.1", TrainerProcesses)


def bash(text: str, **more) -> NodeCommand:
    return NodeCommand(("bash", "-c", text), **more)


def test_every_node_runs_the_program_with_its_place_in_the_group(tmp_path):
    told = "echo $NNODES $NODE_RANK $MASTER_ADDR $((MASTER_PORT > 0)) $OMP_NUM_THREADS $OWN"
    nodes(tmp_path, nodes=2, cpus=3).run(bash(told, variables={"OWN": "a b"}))
    assert (tmp_path / "train.log").read_text() == "2 0 127.0.0.1 1 3 a b\n"
    assert (tmp_path / "train.rank1.log").read_text() == "2 1 127.0.0.1 1 3 a b\n"


def test_the_first_node_alone_is_a_group_of_one(tmp_path):
    nodes(tmp_path, nodes=2).run(bash("echo $NNODES $NODE_RANK", first_only=True))
    assert (tmp_path / "train.log").read_text() == "1 0\n"
    assert not (tmp_path / "train.rank1.log").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo one; echo 'ValueError: no such key' >&2; echo 'E ChildFailedError:'; exit 1", "ValueError: no such key"),
        ("echo 'torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB'; exit 1", "out of memory: lower training."),
        ("truncate -s 0 /proc/self/fd/1; echo 'ValueError: new'; exit 1", "ValueError: new"),  # as of gigabytes
        ("echo last words; exit 3", "it ended with status 3: last words"),
        ("exit 3", "it ended with status 3: it printed nothing"),
        ("exit 98", "it ended with status 98: it printed nothing"),  # EADDRINUSE, which is not of its rendezvous
        ("printf '\\e[31mValueError: \\e[0mred\\n'; exit 1", "ValueError: red"),
        ("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo 'ValueError: last'; exit 1", "ValueError: last"),
        ("kill -KILL $$", "killed by SIGKILL (the machine's memory may be full)"),
        ("kill -SEGV $$", "killed by SIGSEGV: it printed nothing"),
        ("echo 'start.sh: torchrun is not on PATH'; exit 2", "start.sh: torchrun is not on PATH"),
    ],
)
def test_a_failure_is_told_by_its_cause(tmp_path, text, reason):
    (tmp_path / "train.log").write_text("TypeError: of an earlier attempt\n")
    with pytest.raises(WorkerGroupError) as error:
        nodes(tmp_path).run(bash(text))
    assert str(error.value).startswith(reason)


def test_a_port_that_another_process_took_is_tried_again_elsewhere(tmp_path):
    taken = "echo $MASTER_PORT >> ports; (( $(wc -l < ports) > 2 )) || { echo 'RuntimeError: EADDRINUSE'; exit 1; }"
    nodes(tmp_path).run(bash(f"cd {tmp_path}; {taken}"))
    assert len(set((tmp_path / "ports").read_text().split())) == 3
    (tmp_path / "ports").unlink()
    with pytest.raises(WorkerGroupError, match="EADDRINUSE"):
        nodes(tmp_path).run(bash(f"cd {tmp_path}; echo $MASTER_PORT >> ports; echo 'OSError: EADDRINUSE'; exit 1"))
    assert len((tmp_path / "ports").read_text().split()) == 5


@pytest.mark.parametrize("how", ["a node fails", "it hangs"])
def test_no_process_is_left_on_any_node(tmp_path, how):
    """Also of one that left its session, and its parent."""
    leaves = f"(setsid bash -c 'echo $$ > {tmp_path}/pid'$NODE_RANK'; exec sleep 300' &) ; "
    fails = f"until [[ -s {tmp_path}/pid0 && -s {tmp_path}/pid1 ]]; do sleep 0.05; done; exit $NODE_RANK"
    minutes = 30.0 if how == "a node fails" else 0.02
    wanted = "it ended with status 1" if how == "a node fails" else "the trial hung: no heartbeat for 0.02 minutes"
    with pytest.raises(WorkerGroupError, match=wanted):
        nodes(tmp_path, nodes=2, hang_minutes=minutes).run(
            bash(leaves + (fails if how == "a node fails" else "sleep 300"))
        )
    assert (tmp_path / "pid0").read_text()
    until = time.monotonic() + 20
    while (alive(tmp_path / "pid0") or alive(tmp_path / "pid1")) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(tmp_path / "pid0")
    assert not alive(tmp_path / "pid1")


def test_what_grows_is_progress_and_what_is_still_is_none(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("sweep.worker.watch.silence.time.monotonic", lambda: clock[0])
    folder = tmp_path / "checkpoints" / "step-1"
    folder.mkdir(parents=True)
    watch = GrowthWatch([tmp_path / "log", tmp_path / "checkpoints"], tmp_path)
    clock[0] += 9
    assert watch.seconds == 9
    clock[0] += 3600
    assert watch.seconds == 9 + LONGEST_LOOK, "the container was paused, and the program with it"
    (folder / "weights").write_bytes(b"x")
    clock[0] += 10
    assert watch.seconds == 0
    assert (tmp_path / "heartbeat").exists()
    clock[0] += 7
    (tmp_path / "log").write_text("a line\n")
    assert watch.seconds == 0
    (folder / "weights").unlink()
    folder.rmdir()
    clock[0] += 2
    assert watch.seconds == 0, "a checkpoint was replaced"
    clock[0] += 3
    assert watch.seconds == 3
