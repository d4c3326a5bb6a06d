"""A trial of several workers: one torchrun on each node of the trial's placement group."""

from __future__ import annotations

import ray

from sweep.controller.remote_node import RemoteNode
from sweep.store.run import Run
from sweep.study import Record, Study, Trial
from sweep.study.sections.resources import Resources
from sweep.worker.group.monitor import LastLogLine, PortTakenError, WorkerGroupError, WorkerNode, wait_for_nodes
from sweep.worker.group.node import (
    NodeProcesses,
    RankCommand,
    Rendezvous,
    free_port,
)
from sweep.worker.run_trial import at_worker, begin_log, standing, watching
from sweep.worker.watch.silence import Silence
from trainers.loop.out_of_memory import stored_micro_batch

PORTS_TRIED = 5


def run_worker_group(address: str, trial: Trial, had: str | None = None) -> Record:
    """Run a trial on all workers of this process's placement group; returns the record that rank 0 has written. `had`:
    as of `standing`.

    None of their processes is left when it returns or raises. Raises WorkerGroupError with the reason.
    """
    with at_worker(address, trial) as run:
        if done := standing(run, trial, had):
            return done
        study = run.study()
        before = run.record_written(trial)
        begin_log(run.log(trial), run.start(trial, study))  # its ranks do so too, if they come to that
        with watching(run, trial):
            _retry_out_of_memory(run, study, trial)
        record = run.record(trial)
        if record is None or run.record_written(trial) == before:
            raise WorkerGroupError("all ranks exited with status 0, but none wrote record.json")
        if run.mirror:
            run.keep_base_scores(record)
            run.finish(record)  # the ranks wrote to a local folder, not to the object store
        return record


def _retry_out_of_memory(run: Run, study: Study, trial: Trial) -> None:
    """A worker group that runs out of memory stores a smaller micro-batch and ends; start its processes with that."""
    folder = run.trial_folder(trial)
    while True:
        micro_batch = stored_micro_batch(study, folder)
        try:
            return _retry_taken_port(run, study, trial)
        except WorkerGroupError:
            if stored_micro_batch(study, folder) == micro_batch:
                raise


def _retry_taken_port(run: Run, study: Study, trial: Trial) -> None:
    for _ in range(PORTS_TRIED):
        try:
            heartbeat = Silence(run.files.trial(trial.id).heartbeat)
            nodes = _start_nodes(run, study.resources, trial)
            return wait_for_nodes(nodes, heartbeat, study.resources.hang_minutes, _last_log_line(run, trial))
        except PortTakenError:
            continue
    raise WorkerGroupError(f"no port for torchrun: other processes took {PORTS_TRIED} free ports in a row")


def _start_nodes(run: Run, resources: Resources, trial: Trial) -> list[WorkerNode]:
    """Node 0 is the machine of this process; the others are reached through Ray."""
    address, port = str(ray.util.get_node_ip_address()), free_port()  # type: ignore[no-untyped-call]

    def rendezvous(node: int) -> Rendezvous:
        return Rendezvous(
            address=address,
            port=port,
            nodes=resources.nodes,
            node=node,
            workers_per_node=resources.workers_per_node,
            cpus_per_worker=resources.cpus_per_worker,
            gpus=resources.gpus_per_node > 0,
        )

    others = [
        RemoteNode(NodeProcesses, resources, rendezvous(node), _command(run, trial, node))
        for node in range(1, resources.nodes)
    ]
    return [NodeProcesses(rendezvous(0), _command(run, trial, 0)), *others]


def _command(run: Run, trial: Trial, node: int) -> RankCommand:
    files = run.files.trial(trial.id)
    arguments = [str(run.folder), str(files.request)]
    return RankCommand("sweep.worker.group.rank", arguments, files.torchrun_log(node))


def _last_log_line(run: Run, trial: Trial) -> LastLogLine:
    def last_line(rank: int) -> str:
        log = run.log(trial, rank)
        return next(reversed(log.read_text(errors="replace").split("\n")[:-1]), "") if log.is_file() else ""

    return last_line
