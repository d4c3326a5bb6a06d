"""Runs a program on the nodes of a trial and watches it, as a worker group of our own is watched."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sweep.external.trial.growth import GrowthWatch
from sweep.external.trial.job import NodeCommand
from sweep.external.trial.node import TrainerProcesses
from sweep.study.files.layout import TrialFiles
from sweep.study.sections.resources import Resources
from sweep.worker.group.monitor import WorkerGroupError, WorkerNode, wait_for_nodes
from sweep.worker.group.node import Rendezvous, free_port

PORTS_TRIED = 5
TAKEN = re.compile(r"EADDRINUSE|address already in use", re.IGNORECASE)
StartNode = Callable[[Rendezvous, NodeCommand, Path], WorkerNode]  # the last: its log


@dataclass(frozen=True)
class WatchedNodes:
    """The `TrialNodes` of a trial with these files. `address`: of this machine, which is node 0, as the others see it;
    `elsewhere` starts a program on one of the others.
    """

    files: TrialFiles
    resources: Resources
    address: str = "127.0.0.1"
    elsewhere: StartNode | None = None

    @property
    def count(self) -> int:
        return self.resources.nodes

    def run(self, command: NodeCommand) -> None:
        """Another process may take the port first: then others are tried."""
        for tried in range(1, PORTS_TRIED + 1):
            try:
                return self._run(command)
            except WorkerGroupError as error:
                if tried == PORTS_TRIED or not TAKEN.search(str(error)):
                    raise

    def _run(self, command: NodeCommand) -> None:
        count = 1 if command.first_only else self.count
        assert count == 1 or self.elsewhere, "a trial of several nodes runs under Ray"
        logs = [self.files.log(node) for node in range(count)]
        watch = GrowthWatch([*logs, *command.watched], self.files.folder)
        rendezvous = functools.partial(self._rendezvous, free_port(), count)
        others = [self.elsewhere(rendezvous(n), command, logs[n]) for n in range(1, count) if self.elsewhere]
        nodes = [TrainerProcesses(rendezvous(0), command, logs[0]), *others]
        wait_for_nodes(nodes, watch, self.resources.hang_minutes, lambda rank: "")

    def _rendezvous(self, port: int, count: int, node: int) -> Rendezvous:
        of = self.resources
        return Rendezvous(
            address=self.address,
            port=port,
            nodes=count,
            node=node,
            workers_per_node=max(1, of.gpus_per_node),
            cpus_per_worker=of.cpus_per_gpu if of.gpus_per_node else of.cpus_per_node,
            gpus=of.gpus_per_node > 0,
        )
