"""A trial by another trainer, on all nodes of the trial's placement group."""

from __future__ import annotations

from pathlib import Path

import ray

from sweep.controller.remote_node import RemoteNode
from sweep.external import choose
from sweep.external.trial import finalist, flow
from sweep.external.trial.job import NodeCommand
from sweep.external.trial.node import TrainerProcesses
from sweep.external.trial.nodes import WatchedNodes
from sweep.store.run import Run
from sweep.study import Record, Trial
from sweep.worker.group.node import Rendezvous
from sweep.worker.run_trial import at_worker, is_finalist, standing, watching


def run_external(address: str, trial: Trial, had: str | None = None) -> Record:
    """Run a trial on the nodes of this process's placement group; returns its record. Raises with the reason. `had`: as
    of `standing`.
    """
    with at_worker(address, trial) as run:
        if done := standing(run, trial, had):
            return done
        study = run.study()
        carry_out = finalist.score if is_finalist(run, study, trial) else flow.carry_out
        with watching(run, trial):
            return carry_out(run, trial, choose.trainer(study), _nodes(run, trial))


def _nodes(run: Run, trial: Trial) -> WatchedNodes:
    resources = run.study().resources

    def elsewhere(rendezvous: Rendezvous, command: NodeCommand, log: Path) -> RemoteNode:
        return RemoteNode(TrainerProcesses, resources, rendezvous, command, log)

    if resources.nodes == 1:
        return WatchedNodes(run.files.trial(trial.id), resources)
    here = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
    return WatchedNodes(run.files.trial(trial.id), resources, here, elsewhere)
