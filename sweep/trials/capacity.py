"""How many trials fit on the nodes of a cluster in parallel. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sweep.study import InputError
from sweep.study.sections.resources import Resources

Node = dict[str, float]  # the resources of a machine as Ray counts them: CPU, GPU and others


def bundle(resources: Resources) -> Node:
    """The resources that a trial takes of each of its nodes, without those that it does not need."""
    needed = {"CPU": float(resources.cpus_per_node), "GPU": float(resources.gpus_per_node)}
    return {key: amount for key, amount in needed.items() if amount}


def at_once(nodes: Sequence[Node], resources: Resources) -> int:
    """Trials that fit in parallel, at most `resources.concurrent`. The nodes of one trial are different machines."""
    held = [_times(node, bundle(resources)) for node in nodes]
    trials = sum(held) // resources.nodes
    while trials and sum(min(times, trials) for times in held) < trials * resources.nodes:
        trials -= 1
    return min(max(1, trials), resources.concurrent or max(1, trials))


def refuse_impossible(nodes: Sequence[Node], resources: Resources) -> None:
    """Raises InputError for a trial that would wait for ever: it needs larger nodes, or more nodes, than there are."""
    needed = bundle(resources)
    for key, amount in needed.items():
        largest = max((node.get(key, 0) for node in nodes), default=0)
        if amount > largest:
            raise InputError(
                f"{_field(resources, key)}: a trial needs {amount:g} {key}s of one node, the largest node has "
                f"{largest:g}: lower it, or use larger nodes"
            )
    able = sum(_times(node, needed) > 0 for node in nodes)
    if able < resources.nodes:
        parts = " and ".join(f"{amount:g} {key}s" for key, amount in needed.items())
        raise InputError(
            f"resources.nodes: {able} of the cluster's {len(nodes)} nodes have {parts}, and a trial needs "
            f"{resources.nodes} such nodes: lower one of these, or add nodes"
        )


def _times(node: Node, needed: Node) -> int:
    return min(int(node.get(key, 0) // amount) for key, amount in needed.items())


def _field(resources: Resources, key: str) -> str:
    """The field of the study to change where a resource is too scarce."""
    if key == "GPU":
        return "resources.gpus_per_node"
    if resources.gpus_per_node:
        return "resources.cpus_per_gpu"
    return "resources.processes" if resources.processes > 1 else "resources.cpus"
