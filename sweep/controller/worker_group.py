"""A trial of several workers: a torchrun on each node of the trial's own placement group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from sweep.controller import cluster
from sweep.store.at_worker import at_worker
from sweep.store.run import Run
from sweep.study.record import Record
from sweep.study.study import Study
from sweep.study.trial import Trial
from sweep.trials import capacity
from sweep.worker.group.follow import FollowedNode, LastWords, PortTakenError, WorkerGroupError, follow
from sweep.worker.group.node import GRACE_SECONDS, NodeOutcome, NodeProcesses, RankFailure, free_port
from sweep.worker.group.torchrun_arguments import Rendezvous
from sweep.worker.hang import HeartbeatWatch
from trainers.loop import out_of_memory as memory

PORTS_TRIED = 5


def run_gang(address: str, trial: Trial) -> Record:
    """Run a trial on all workers of the placement group in which this process is, to the record that its rank 0 keeps.

    None of their processes is left when it returns or raises. Raises GangError with the reason.
    """
    with at_worker(address, trial) as run:
        study = run.study()
        before = run.record_written(trial)
        run.start(trial, study)
        _until_it_fits(run, study, trial)
        record = run.record(trial)
        if record is None or run.record_written(trial) == before:
            raise WorkerGroupError("its ranks ended well, and none of them kept a record")
        if run.mirror:
            run.keep_base_scores(record)
            run.finish(record)  # the ranks know the folder here, not where the run is kept
        return record


def _until_it_fits(run: Run, study: Study, trial: Trial) -> None:
    """A gang that ran out of memory notes a smaller micro-batch and ends; its processes start again with that."""
    folder = run.trial_folder(trial)
    while True:
        micro = memory.noted(study, folder)
        try:
            return _through(run, study, trial)
        except WorkerGroupError:
            if memory.noted(study, folder) == micro:
                raise


def _through(run: Run, study: Study, trial: Trial) -> None:
    for _ in range(PORTS_TRIED):
        try:
            silence = HeartbeatWatch(run.trial_folder(trial))
            return follow(_started(run, study, trial), silence, study.resources.hang_minutes, _last_words(run, trial))
        except PortTakenError:
            continue
    raise WorkerGroupError(f"{PORTS_TRIED} free ports in a row were taken by others before torchrun could")


def _started(run: Run, study: Study, trial: Trial) -> list[FollowedNode]:
    """This process is on node 0, where the others meet."""
    asked = study.resources
    address, port = str(ray.util.get_node_ip_address()), free_port()  # type: ignore[no-untyped-call]

    def meeting(node: int) -> Rendezvous:
        workers, cpus, gpus = asked.workers_per_node, asked.cpus_per_worker, asked.gpus_per_node > 0
        return Rendezvous(address, port, asked.nodes, node, workers, cpus, gpus)

    there = [_There(meeting(k), study, _node_arguments(run, trial, k)) for k in range(1, asked.nodes)]
    return [NodeProcesses(meeting(0), *_node_arguments(run, trial, 0)), *there]


def _node_arguments(run: Run, trial: Trial, node: int) -> tuple[str, list[str], Path]:
    files = run.files.trial(trial.id)
    return "sweep.worker.rank", [str(run.folder), str(files.request)], files.torchrun_log(node)


class _There:
    """A node of the gang on another machine: an actor in its bundle, which holds what Ray gave the bundle."""

    def __init__(self, meeting: Rendezvous, study: Study, arguments: tuple[str, list[str], Path]) -> None:
        bundle = capacity.bundle(study.resources)
        self.meeting = meeting
        start: Any = ray.remote(NodeProcesses).options(
            num_cpus=bundle["CPU"], num_gpus=bundle.get("GPU", 0), scheduling_strategy=_in_bundle(meeting.node)
        )
        self.actor = start.remote(meeting, *arguments, cluster.secrets())
        self.asked = self.actor.poll.remote()
        self.outcome: NodeOutcome | None = None

    def poll(self) -> NodeOutcome | None:
        if self.outcome is None and ray.wait([self.asked], timeout=0)[0]:
            self.outcome = self._answer(self.asked)
            self.asked = self.actor.poll.remote()
        return self.outcome

    def stop(self) -> None:
        try:
            ray.get(self.actor.stop.remote(), timeout=3 * GRACE_SECONDS)
        except ray.exceptions.GetTimeoutError as error:
            raise TimeoutError(f"node {self.meeting.node} of the gang did not stop") from error
        except ray.exceptions.RayActorError:
            pass  # its keeper stops its processes then
        finally:
            ray.kill(self.actor)

    def _answer(self, asked: Any) -> NodeOutcome | None:
        try:
            answer: NodeOutcome | None = ray.get(asked)
        except ray.exceptions.RayError as error:
            lost = f"node {self.meeting.node} of the gang was lost: {_first_line(error)}"
            return NodeOutcome((RankFailure(None, 1, lost),))
        return answer


def _in_bundle(node: int) -> PlacementGroupSchedulingStrategy:
    group = ray.util.get_current_placement_group()
    assert isinstance(group, PlacementGroup), "Tune starts a trial in its placement group"
    return PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=node)


def _last_words(run: Run, trial: Trial) -> LastWords:
    def last_line(rank: int) -> str:
        log = run.log(trial, rank)
        return next(reversed(log.read_text(errors="replace").split("\n")[:-1]), "") if log.is_file() else ""

    return last_line


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
