"""How many trials run at once on a cluster, and what can never run on it."""

from __future__ import annotations

import pytest

from sweep.study import InputError
from sweep.study.sections.resources import Resources
from sweep.trials import capacity


def node(cpus: float, gpus: float = 0) -> capacity.Node:
    return {"CPU": cpus, "GPU": gpus, "memory": 1e9}


@pytest.mark.parametrize(
    ("nodes", "resources", "fits"),
    [
        ([node(4)], {"cpus": 2}, 2),
        ([node(64, 8)], {"gpus_per_node": 4, "cpus_per_gpu": 8}, 2),
        ([node(32, 8)], {"gpus_per_node": 4, "cpus_per_gpu": 8}, 1),
        ([node(64, 8)] * 2, {"nodes": 2, "gpus_per_node": 4}, 2),
        ([node(64, 8)] * 3, {"nodes": 2, "gpus_per_node": 8}, 1),
        ([node(640, 80), node(8, 1)], {"nodes": 2, "gpus_per_node": 1}, 1),  # nodes of a trial are different machines
        ([node(64, 8)] * 3, {"nodes": 2, "gpus_per_node": 4}, 3),
        ([node(64, 8)] * 9, {"gpus_per_node": 8, "concurrent": 4}, 4),
        ([node(64, 8), node(64)], {"gpus_per_node": 8}, 1),
    ],
)
def test_trials_at_once_are_the_placement_groups_that_fit(
    nodes: list[capacity.Node], resources: dict[str, int], fits: int
) -> None:
    capacity.refuse_impossible(nodes, Resources(**resources))
    assert capacity.at_once(nodes, Resources(**resources)) == fits


@pytest.mark.parametrize(
    ("nodes", "resources", "words"),
    [
        ([node(4)], {"cpus": 8}, "resources.cpus: a trial needs 8 CPUs of one node, the largest node has 4"),
        ([node(4)], {"processes": 8}, "resources.processes: a trial needs 8 CPUs of one node"),
        ([node(64, 4)], {"gpus_per_node": 8}, "resources.gpus_per_node: a trial needs 8 GPUs of one node"),
        ([node(16, 8)], {"gpus_per_node": 8}, "resources.cpus_per_gpu: a trial needs 64 CPUs of one node"),
        ([node(16, 8), node(64)], {"gpus_per_node": 8}, "resources.nodes: 0 of the cluster's 2 nodes have 64 CPUs and"),
        ([node(64, 8)], {"nodes": 2, "gpus_per_node": 4}, "resources.nodes: 1 of the cluster's 1 nodes have 32 CPUs"),
    ],
)
def test_what_would_wait_for_ever_is_refused_in_one_line(
    nodes: list[capacity.Node], resources: dict[str, int], words: str
) -> None:
    with pytest.raises(InputError) as raised:
        capacity.refuse_impossible(nodes, Resources(**resources))
    assert str(raised.value).startswith(words)
    assert len(str(raised.value).splitlines()) == 1
