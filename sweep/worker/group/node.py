"""One node of a worker group: its torchrun, under a supervisor. Knows nothing of Ray and imports no torch."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from sweep.store import temporary
from sweep.worker.group.supervisor import LOCK_HELD

GRACE_SECONDS = 10.0  # between SIGTERM and SIGKILL
PORT_TAKEN = errno.EADDRINUSE  # exit status of sweep.worker.group.torchrun where another process has taken the port
CODE = Path(__file__).parents[3]  # the folder of our packages: on a worker, the run's staged code


@dataclass(frozen=True)
class Rendezvous:
    """The rendezvous of a worker group's nodes (address and port of node 0), as node number `node` sees it."""

    address: str
    port: int
    nodes: int
    node: int
    workers_per_node: int
    cpus_per_worker: int
    gpus: bool = False


class RankCommand(NamedTuple):
    """What every rank of a node runs: `module` with `arguments`. torchrun itself prints to `log`."""

    module: str
    arguments: list[str]
    log: Path


@dataclass(frozen=True)
class RankFailure:
    """The failure of one rank, or of its torchrun (`rank` None). `message`: its exception; None where it gave none."""

    rank: int | None
    exit_status: int
    message: str | None = None
    timestamp: float = 0.0


@dataclass(frozen=True)
class NodeOutcome:
    """How a node's processes ended; all of them are gone. Without failures they finished."""

    failures: tuple[RankFailure, ...] = ()

    @property
    def port_taken(self) -> bool:
        """As our torchrun says. Of another program the status is its own, and comes with a message."""
        return any(of.rank is None and of.exit_status == PORT_TAKEN and of.message is None for of in self.failures)


class SupervisedProcesses:
    """The processes of one node, started by the constructor below a supervisor. `log` gets what they print.

    `locks`: files that are locked until none of them is left, see `gpu_locks`.
    """

    grace_seconds: float | None = None  # other than `GRACE_SECONDS`

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str], locks: list[str]) -> None:
        grace = GRACE_SECONDS if self.grace_seconds is None else self.grace_seconds
        request = {"command": [*command], "log": str(log), "grace_seconds": grace, "locks": locks}
        self.supervisor = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "sweep.worker.group.supervisor", json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=CODE,
            env=dict(environment),
            start_new_session=True,  # Ctrl-C reaches only this process, which closes the supervisor's pipe
        )
        self.outcome: NodeOutcome | None = None

    def poll(self) -> NodeOutcome | None:
        """None while its processes run."""
        if self.outcome is None and self._has_ended(0):
            self.outcome = self._read_outcome()
        return self.outcome

    def stop(self) -> None:
        """Returns when no process of the node is left. Raises TimeoutError where one cannot be killed."""
        assert self.supervisor.stdin
        with contextlib.suppress(BrokenPipeError):
            self.supervisor.stdin.close()
        if self.poll() is None:
            if not self._has_ended(2 * GRACE_SECONDS):
                raise TimeoutError(f"processes on {socket.gethostname()} could not be killed")
            self.outcome = self._read_outcome()

    def reported(self, exit_status: int | None) -> tuple[RankFailure, ...]:
        """What the processes themselves say of a failure; empty where nothing, or where they did not fail.

        `exit_status`: of the command, None where the supervisor was killed.
        """
        return ()

    def _has_ended(self, seconds: float) -> bool:
        assert self.supervisor.stdout
        return bool(select.select([self.supervisor.stdout], [], [], seconds)[0])

    def _read_outcome(self) -> NodeOutcome:
        assert self.supervisor.stdout
        answer = self.supervisor.stdout.read()
        self.supervisor.wait()
        status: int | None = json.loads(answer)["exit_status"] if answer else None
        return NodeOutcome(self.reported(status) or _failures(status))


class NodeProcesses(SupervisedProcesses):
    """The torchrun of one node and its ranks. `secrets` are added to their environment."""

    def __init__(
        self, rendezvous: Rendezvous, command: RankCommand, secrets: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.scratch = temporary.make("node")
        self.failures = self.scratch / "failures.json"
        torchrun = [sys.executable, "-m", "sweep.worker.group.torchrun", str(self.failures)]
        ranks = [*torchrun_arguments(rendezvous, GRACE_SECONDS), command.module, *command.arguments]
        environment = node_environment(rendezvous) | dict(secrets)
        super().__init__([*torchrun, *ranks], command.log, environment, gpu_locks(rendezvous))

    def reported(self, exit_status: int | None) -> tuple[RankFailure, ...]:
        try:
            failures = json.loads(self.failures.read_text())
        except (FileNotFoundError, ValueError):  # where the disk is full it is empty
            failures = []
        temporary.remove(self.scratch)
        return tuple(RankFailure(**failure) for failure in failures)


def free_port() -> int:
    """A port that is free now; another process may take it before torchrun does."""
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


def _failures(status: int | None) -> tuple[RankFailure, ...]:
    """The failure of a command that reported none. `status`: None where the supervisor was killed."""
    if status is None:
        return (RankFailure(None, -9, "the supervisor of the node's processes was killed"),)
    if status == LOCK_HELD:
        return (RankFailure(None, status, "a GPU is still in use by the processes of an earlier trial"),)
    return (RankFailure(None, status),) if status else ()


def python_path() -> str:
    """PYTHONPATH of a program that runs our code: our packages come first."""
    return os.pathsep.join(filter(None, [str(CODE), os.environ.get("PYTHONPATH")]))


def node_environment(rendezvous: Rendezvous) -> dict[str, str]:
    """Our packages come first, and nothing is imported from the folder in which a process happens to start."""
    return os.environ | {
        "PYTHONPATH": python_path(),
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": str(rendezvous.cpus_per_worker),
    }


def gpu_locks(rendezvous: Rendezvous) -> list[str]:
    """A lock file for each GPU that Ray gave to this process."""
    # Without GPUs the variable is the machine's own: it may name GPUs that the worker group does not use.
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if rendezvous.gpus else []
    names = [gpu.strip().replace("/", "-") for gpu in gpus if gpu.strip()]
    return [str(Path(tempfile.gettempdir()) / f"almr-{os.getuid()}-gpu-{name}") for name in names]


def torchrun_arguments(rendezvous: Rendezvous, grace_seconds: float) -> list[str]:
    """A static rendezvous without restarts: Ray Tune starts a worker group that failed again, as a whole."""
    return [
        f"--nnodes={rendezvous.nodes}",
        f"--node-rank={rendezvous.node}",
        f"--nproc-per-node={rendezvous.workers_per_node}",
        f"--master-addr={rendezvous.address}",
        f"--master-port={rendezvous.port}",
        f"--shutdown-timeout={max(1, int(grace_seconds / 2))}",
        "--max-restarts=0",
        "-m",
    ]
