"""One node of a worker group without Ray: processes that start, end, ignore SIGTERM, and lose their parent."""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep.worker.group import node as nodes
from sweep.worker.group import supervisor as supervisors
from sweep.worker.group import torchrun
from sweep.worker.group.node import NodeOutcome, NodeProcesses, RankCommand, RankFailure, Rendezvous, free_port

STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "300"], start_new_session=True)
print(os.getpid(), child.pid, file=open(sys.argv[1], "w"), flush=True)
time.sleep(300)
"""


def rendezvous(port: int, gpus: bool = False) -> Rendezvous:
    """One node of two workers with three CPUs each."""
    return Rendezvous(address="127.0.0.1", port=port, nodes=1, node=0, workers_per_node=2, cpus_per_worker=3, gpus=gpus)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(true: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "not within the time limit"
        time.sleep(0.02)


def supervisor(folder: Path, grace_seconds: float, locks: tuple[Path, ...] = ()) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", STUBBORN, str(folder / "pids")]
    request = {"command": command, "log": str(folder / "log"), "grace_seconds": grace_seconds}
    argument = json.dumps(request | {"locks": [str(path) for path in locks]})
    return subprocess.Popen(
        [sys.executable, "-m", "sweep.worker.group.supervisor", argument], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def pids(folder: Path) -> list[int]:
    def written() -> str:
        path = folder / "pids"
        return path.read_text() if path.exists() else ""

    wait_until(lambda: written().endswith("\n"))
    return [int(pid) for pid in written().split()]


def test_what_ignores_the_request_to_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    started = supervisor(tmp_path, grace_seconds=0.3)
    processes = pids(tmp_path)
    assert all(map(alive, processes))
    out, _ = started.communicate(timeout=30)  # closes the pipe
    assert json.loads(out) == {"exit_status": -signal.SIGKILL, "stopped": True}
    assert not any(map(alive, processes))


@pytest.mark.parametrize("victim", ["starter's child", "supervisor"])
def test_nothing_lives_on_when_a_process_between_is_killed(tmp_path: Path, victim: str) -> None:
    started = supervisor(tmp_path, grace_seconds=0.1)
    processes = pids(tmp_path)
    [real] = [int(p) for p in Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()]
    os.kill(started.pid if victim == "starter's child" else real, signal.SIGKILL)
    if victim != "supervisor":  # as Ray does when a worker ends: the pipe closes too
        assert started.stdin
        started.stdin.close()
    wait_until(lambda: not any(map(alive, processes)))
    started.wait()


def test_a_gpu_is_not_used_before_the_processes_of_the_trial_before_are_gone(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    lock = tmp_path / "gpu-0"
    before = supervisor(first, grace_seconds=1.0, locks=(lock,))
    old = pids(first)
    assert before.stdin
    before.stdin.close()  # its process ignores that for a second
    after = supervisor(second, grace_seconds=0.1, locks=(lock,))
    pids(second)
    assert not any(map(alive, old))
    before.wait()
    after.communicate(timeout=30)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_keeps_no_worker_group_from_its_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    def flock(file: Any, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with supervisors._locked(tmp_path / "gpu-0") as held:
        assert held
    assert f"no lock on the GPUs: the file system of {tmp_path / 'gpu-0'} has none" in capsys.readouterr().err


def test_the_gpus_of_a_worker_group_are_locked_and_none_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, MIG-GPU-8a/1/0")
    of_gpus = nodes.gpu_locks(rendezvous(1, gpus=True))
    assert [Path(path).name.partition("-gpu-")[2] for path in of_gpus] == ["0", "MIG-GPU-8a-1-0"]
    assert nodes.gpu_locks(rendezvous(1)) == []


RANK = """
import os, sys, time
rank = int(os.environ["RANK"])
from torch.distributed.elastic.multiprocessing.errors import record
import analysis, sweep

@record
def main():
    print(rank, os.environ["WORLD_SIZE"], os.environ["OMP_NUM_THREADS"], analysis.__file__, os.environ["MASTER_PORT"],
          file=open(f"{sys.argv[1]}/rank{rank}", "w"))
    if sys.argv[2] == "raise" and rank == 1:
        raise ValueError("no such row\\nand more")
    if sys.argv[2] != "end":
        time.sleep(300)

main()
"""


@pytest.fixture
def ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., NodeProcesses]]:
    """Starts one node of two ranks, in a folder with a package that must not be taken for ours."""
    (tmp_path / "a_rank.py").write_text(RANK)
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis/__init__.py").write_text("raise RuntimeError('shadowed')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(nodes, "GRACE_SECONDS", 2.0)
    started = []

    def start(what: str, port: int | None = None) -> NodeProcesses:
        command = RankCommand("a_rank", [str(tmp_path), what], tmp_path / "torchrun.log")
        started.append(NodeProcesses(rendezvous(port or free_port()), command))
        return started[-1]

    yield start
    for node in started:
        node.stop()


def outcome(node: NodeProcesses) -> NodeOutcome:
    wait_until(node.poll, 90)
    found = node.poll()
    assert found
    return found


@pytest.mark.slow
def test_ranks_run_our_code_whatever_lies_where_the_command_was_given(ranks: Any, tmp_path: Path) -> None:
    assert outcome(ranks("end")) == NodeOutcome(), (tmp_path / "torchrun.log").read_text()
    for rank in ("0", "1"):
        found = (tmp_path / f"rank{rank}").read_text().split()
        assert found[:4] == [rank, "2", "3", str(nodes.CODE / "analysis/__init__.py")]


@pytest.mark.slow
def test_a_rank_that_fails_is_named(ranks: Any) -> None:
    [failure] = outcome(ranks("raise")).failures
    assert (failure.rank, failure.exit_status, failure.message) == (1, 1, "ValueError: no such row\nand more")


@pytest.mark.slow
def test_a_port_that_another_process_took_is_recognised(ranks: Any) -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        assert outcome(ranks("end", other.getsockname()[1])) == NodeOutcome((RankFailure(None, 98),))
    assert NodeOutcome((RankFailure(None, 98),)).port_taken


@pytest.mark.parametrize("options", [[], ["--shutdown-timeout"]])
def test_torchrun_is_given_only_what_it_knows(monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    def parser() -> argparse.ArgumentParser:
        made = argparse.ArgumentParser()
        for option in ["--nnodes", *options]:
            made.add_argument(option)
        return made

    monkeypatch.setattr(torchrun, "get_args_parser", parser)
    given = [f"{option}=1" for option in options]
    assert torchrun._known(["--nnodes=1", "--shutdown-timeout=1", "-m"]) == ["--nnodes=1", *given, "-m"]


@pytest.mark.parametrize("left", ["", '[{"rank": 0, "exit_st'])
def test_what_torchrun_could_not_write_whole_on_a_full_disk_is_no_failure_of_its_own(tmp_path: Path, left: str) -> None:
    (tmp_path / "scratch").mkdir()
    (file := tmp_path / "scratch" / "failures.json").write_text(left)
    node = NodeProcesses.__new__(NodeProcesses)
    node.scratch, node.failures = file.parent, file
    assert node.reported(1) == ()
    assert not file.parent.exists()
