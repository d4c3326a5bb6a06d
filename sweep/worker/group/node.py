"""One node's share of a gang: its torchrun, in the hands of a keeper. Knows nothing of Ray."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sweep.worker.group.keeper import CLAIM_HELD
from sweep.worker.group.torchrun_arguments import PORT_TAKEN, Rendezvous, arguments

GRACE_SECONDS = 10.0  # between SIGTERM and SIGKILL
CODE = Path(__file__).parents[3]  # where our packages lie: on a worker, the snapshot that came with the run


@dataclass(frozen=True)
class RankFailure:
    """Of one rank, or of its torchrun (None). `message` is its exception; None where it could not tell."""

    rank: int | None
    exit_status: int
    message: str | None = None
    timestamp: float = 0.0


@dataclass(frozen=True)
class NodeOutcome:
    """How a node's processes ended, all of them gone. No failures: they finished."""

    failures: tuple[RankFailure, ...] = ()

    @property
    def port_taken(self) -> bool:
        return any(failure.rank is None and failure.exit_status == PORT_TAKEN for failure in self.failures)


class NodeProcesses:
    """Started when it is made. Every rank runs `module` with `module_arguments`; `log` gets torchrun's own words.
    `secrets` are added to the environment.
    """

    def __init__(
        self,
        meeting: Rendezvous,
        module: str,
        module_arguments: list[str],
        log: Path,
        secrets: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="almr-gang-"))
        self.failures = self.scratch / "failures.json"
        torchrun = [sys.executable, "-m", "sweep.worker.group.torchrun", str(self.failures)]
        command = [*torchrun, *arguments(meeting, GRACE_SECONDS), module, *module_arguments]
        asked = {"command": command, "log": str(log), "grace_seconds": GRACE_SECONDS, "claims": claims(meeting)}
        self.keeper = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "sweep.worker.group.keeper", json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=CODE,
            env=_environment(meeting) | dict(secrets),
            start_new_session=True,  # Ctrl-C reaches whoever started it, and through the pipe the keeper
        )
        self.outcome: NodeOutcome | None = None

    def poll(self) -> NodeOutcome | None:
        """None while its processes run."""
        if self.outcome is None and self._ended(0):
            self.outcome = self._concluded()
        return self.outcome

    def stop(self) -> None:
        """Returns when no process of the node is left. Raises TimeoutError where one cannot be killed."""
        assert self.keeper.stdin
        with contextlib.suppress(BrokenPipeError):
            self.keeper.stdin.close()
        if self.poll() is None:
            if not self._ended(2 * GRACE_SECONDS):
                raise TimeoutError(f"processes on {socket.gethostname()} could not be killed")
            self.outcome = self._concluded()

    def _ended(self, seconds: float) -> bool:
        assert self.keeper.stdout
        return bool(select.select([self.keeper.stdout], [], [], seconds)[0])

    def _concluded(self) -> NodeOutcome:
        assert self.keeper.stdout
        said = self.keeper.stdout.read()
        self.keeper.wait()
        found = json.loads(self.failures.read_text()) if self.failures.exists() else []
        shutil.rmtree(self.scratch, ignore_errors=True)
        if found:
            return NodeOutcome(tuple(RankFailure(**failure) for failure in found))
        return _without_ranks(json.loads(said) if said else None)


def free_port() -> int:
    """Free when asked; somebody may take it before torchrun does."""
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


def _without_ranks(said: dict[str, Any] | None) -> NodeOutcome:
    if said is None:
        return NodeOutcome((RankFailure(None, -9, "the keeper of its processes was killed"),))
    status = said["exit_status"]
    if status == CLAIM_HELD:
        return NodeOutcome((RankFailure(None, status, "a GPU is still held by the processes of an earlier trial"),))
    return NodeOutcome() if status == 0 else NodeOutcome((RankFailure(None, status),))


def _environment(meeting: Rendezvous) -> dict[str, str]:
    """Our packages come first, and nothing is imported from the folder in which a process happens to start."""
    path = os.pathsep.join(filter(None, [str(CODE), os.environ.get("PYTHONPATH")]))
    return os.environ | {
        "PYTHONPATH": path,
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": str(meeting.cpus_per_worker),
    }


def claims(meeting: Rendezvous) -> list[str]:
    """A file to lock for each GPU that Ray gave to this process."""
    # A gang without GPUs leaves the variable as the machine has it, and takes none of them.
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if meeting.gpus else []
    names = [gpu.strip().replace("/", "-") for gpu in gpus if gpu.strip()]
    return [str(Path(tempfile.gettempdir()) / f"almr-{os.getuid()}-gpu-{name}") for name in names]
