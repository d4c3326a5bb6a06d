"""Whether and how often a trial's workers fit on a cluster, told from what its nodes have. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sweep.study.errors import InputError
from sweep.study.sections.resources import Resources

Node = dict[str, float]  # what Ray counts on a machine: CPU, GPU and others


def bundle(resources: Resources) -> Node:
    """What a trial takes of each of its nodes; what it does not need is left out."""
    asked = {"CPU": float(resources.cpus_per_node), "GPU": float(resources.gpus_per_node)}
    return {key: amount for key, amount in asked.items() if amount}


def at_once(nodes: Sequence[Node], resources: Resources) -> int:
    """Trials that fit at once, at most as many as the study states. A trial's nodes are different machines."""
    held = [_times(node, bundle(resources)) for node in nodes]
    trials = sum(held) // resources.nodes
    while trials and sum(min(times, trials) for times in held) < trials * resources.nodes:
        trials -= 1
    return min(max(1, trials), resources.concurrent or max(1, trials))


def refuse_impossible(nodes: Sequence[Node], resources: Resources) -> None:
    """Raises InputError for what would wait for ever: too much of one node, or more nodes than there are."""
    asked = bundle(resources)
    for key, amount in asked.items():
        largest = max((node.get(key, 0) for node in nodes), default=0)
        if amount > largest:
            raise InputError(
                f"{_field(resources, key)}: {amount:g} {key}s of one node asked for one trial, the largest has "
                f"{largest:g}: lower it, or use a larger node"
            )
    able = sum(_times(node, asked) > 0 for node in nodes)
    if able < resources.nodes:
        parts = " and ".join(f"{amount:g} {key}s" for key, amount in asked.items())
        raise InputError(
            f"resources.nodes: {resources.nodes} asked for one trial, {able} of the cluster's {len(nodes)} have "
            f"{parts} each: lower one of these, or add nodes"
        )


def _times(node: Node, asked: Node) -> int:
    return min(int(node.get(key, 0) // amount) for key, amount in asked.items())


def _field(resources: Resources, key: str) -> str:
    """What to change in the study where there is too little of a kind."""
    if key == "GPU":
        return "resources.gpus_per_node"
    if resources.gpus_per_node:
        return "resources.cpus_per_gpu"
    return "resources.processes" if resources.processes > 1 else "resources.cpus"
