"""A node of a trial on another machine, reached through Ray."""

from __future__ import annotations

from typing import Any

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from sweep.controller import cluster
from sweep.study.sections.resources import Resources
from sweep.trials import capacity
from sweep.worker.group.node import GRACE_SECONDS, NodeOutcome, RankFailure, Rendezvous, SupervisedProcesses


class RemoteNode:
    """A node of a trial on another machine: an actor of this `kind`, in the node's bundle of the placement group.

    `what`: what it is started with, beside the rendezvous.
    """

    def __init__(
        self, kind: type[SupervisedProcesses], resources: Resources, rendezvous: Rendezvous, *what: Any
    ) -> None:
        self.node, bundle = rendezvous.node, capacity.bundle(resources)
        start: Any = ray.remote(kind).options(
            num_cpus=bundle["CPU"], num_gpus=bundle.get("GPU", 0), scheduling_strategy=_in_bundle(self.node)
        )
        self.actor = start.remote(rendezvous, *what, cluster.secrets())
        self.pending = self.actor.poll.remote()
        self.outcome: NodeOutcome | None = None

    def poll(self) -> NodeOutcome | None:
        if self.outcome is None and ray.wait([self.pending], timeout=0)[0]:
            self.outcome = self._answer(self.pending)
            self.pending = self.actor.poll.remote()
        return self.outcome

    def stop(self) -> None:
        try:
            ray.get(self.actor.stop.remote(), timeout=3 * GRACE_SECONDS)
        except ray.exceptions.GetTimeoutError as error:
            raise TimeoutError(f"node {self.node} of the trial did not stop") from error
        except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError):
            pass  # the actor is gone, so that its supervisor stops the processes
        finally:
            ray.kill(self.actor)

    def _answer(self, pending: Any) -> NodeOutcome | None:
        try:
            answer: NodeOutcome | None = ray.get(pending)
        except ray.exceptions.RayError as error:
            lost = f"node {self.node} of the trial was lost: {_first_line(error)}"
            return NodeOutcome((RankFailure(None, 1, lost),))
        return answer


def _in_bundle(node: int) -> PlacementGroupSchedulingStrategy:
    group = ray.util.get_current_placement_group()
    assert isinstance(group, PlacementGroup), "Ray Tune starts a trial in a placement group"
    return PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=node)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
