"""One node of a trial by another trainer: a program below the supervisor, and why it failed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from sweep.external.trial import reason
from sweep.external.trial.job import NodeCommand
from sweep.worker.group.node import RankFailure, Rendezvous, SupervisedProcesses, gpu_locks

READ_BYTES = 10**6  # of the end of a log, whose last error is the reason


class TrainerProcesses(SupervisedProcesses):
    """A program of a node, started by the constructor; its output is added to `log`. `secrets` as of a worker group.

    The trainer gets no PYTHONPATH of ours: it has another Python.
    """

    def __init__(
        self,
        rendezvous: Rendezvous,
        command: NodeCommand,
        log: Path,
        secrets: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log, self.begins = log, log.stat().st_size if log.exists() else 0
        environment = os.environ | dict(secrets) | _rendezvous(rendezvous) | dict(command.variables)
        super().__init__(command.words, log, environment, gpu_locks(rendezvous))

    def reported(self, exit_status: int | None) -> tuple[RankFailure, ...]:
        if not exit_status:
            return ()
        with self.log.open("rb") as opened:
            size = self.log.stat().st_size
            begins = self.begins if size >= self.begins else 0  # a log of gigabytes was cut meanwhile
            opened.seek(max(begins, size - READ_BYTES))
            text = opened.read().decode("utf-8", "replace")
        return (RankFailure(None, exit_status, reason.of_log(text, exit_status)),)


def _rendezvous(of: Rendezvous) -> dict[str, str]:
    return {
        "NNODES": str(of.nodes),
        "NODE_RANK": str(of.node),
        "MASTER_ADDR": of.address,
        "MASTER_PORT": str(of.port),
        "OMP_NUM_THREADS": str(of.cpus_per_worker),
    }
