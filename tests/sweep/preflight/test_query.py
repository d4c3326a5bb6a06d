"""The preflight on a Ray cluster of two nodes, one of which does not see the storage."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from one_ray import TwoNodes
from samples import bowl_csv, make_study

from sweep.preflight import preflight, probe
from sweep.preflight.preflight import Requirements, training_packages
from sweep.store.run import Run
from sweep.study import InputError

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture
def address(two_nodes: TwoNodes) -> str:
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return two_nodes.address


def blind_on_one(request: dict[str, Any]) -> dict[str, Any]:
    """Only the node that creates the mark file sees the storage."""
    try:
        os.close(os.open(request["paths"]["mark"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        request = request | {"shared": dict.fromkeys(request["shared"], "/no/such/mount")}
    return probe.inspect(request)


def test_two_nodes_that_see_all_are_ready(address: str, tmp_path: Path) -> None:
    shared = {"run directory": str(tmp_path / "runs"), "ALMR_CACHE": str(tmp_path / "cache")}
    needed = Requirements(shared, {}, training_packages(make_study()), "none")
    answer = preflight.ask(needed, address)
    assert len(answer.nodes) == 2
    assert [f for f in preflight.cluster(make_study(), needed, answer) if not f.ok] == []
    assert all(found.seen and found.seen["versions"]["ray"] for found in answer.nodes)
    assert not list(tmp_path.rglob(".almr-check*"))


def test_a_node_without_the_storage_is_named(address: str, tmp_path: Path) -> None:
    shared, mark = {"run directory": str(tmp_path)}, {"mark": str(tmp_path / "mark")}
    needed = Requirements(shared, mark, training_packages(make_study()))
    answer = preflight.ask(needed, address, inspect=blind_on_one)
    found = [f for f in preflight.cluster(make_study(), needed, answer) if not f.ok]
    assert [f.name for f in found] == ["run directory"]
    assert f" cannot use {tmp_path} (" in found[0].detail


def dies_on_one(request: dict[str, Any]) -> dict[str, Any]:
    """Kills the node that the request names, whose raylet is this process's parent."""
    import ray

    if ray.get_runtime_context().get_node_id() == request["paths"]["dies"]:
        os.kill(os.getppid(), signal.SIGTERM)  # Ray misses it at once, and 16 s after a SIGKILL
        time.sleep(60)  # until Ray ends this process too
    return probe.inspect(request | {"paths": {}})


def test_a_node_that_dies_meanwhile_is_left_out(two_nodes: TwoNodes, address: str, tmp_path: Path) -> None:
    with two_nodes.third() as node:
        needed = Requirements({"run directory": str(tmp_path)}, {"dies": node}, training_packages(make_study()))
        answer = preflight.ask(needed, address, inspect=dies_on_one)
    assert len(answer.nodes) == 2
    assert [f for f in preflight.cluster(make_study(), needed, answer) if not f.ok] == []


def test_no_cluster_at_the_address_is_one_line(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(InputError, match="no Ray cluster answers there"):
        preflight.refuse_unready(make_study(), Run(tmp_path / "runs" / "small"), "127.0.0.1:1")


@pytest.mark.parametrize("address", [f"{'h' * 300}:99", "x..y:1"])
def test_an_address_that_is_no_name_of_a_host_is_one_line(address: str, tmp_path: Path, cache: Path) -> None:
    with pytest.raises(InputError, match="no Ray cluster answers there"):
        preflight.refuse_unready(make_study(), Run(tmp_path / "runs" / "small"), address)


def test_a_run_on_a_cluster_that_is_not_ready_starts_no_trial(address: str, tmp_path: Path, cache: Path) -> None:
    from rich.console import Console

    from sweep.verbs.running import run as sweep_run

    table = bowl_csv(tmp_path / "table.csv", [0.1, 0.5, 0.9], [1e-3, 3e-3, 1e-2])
    grid = {"almr": [0.1, 0.5, 0.9], "lr": [1e-3, 3e-3, 1e-2]}
    study = make_study(grid=grid, replay={"table": str(table)}, resources={"cpus": 3})
    run = Run(tmp_path / "runs" / "small")
    with pytest.raises(InputError, match=r"capacity: resources\.cpus: a trial needs 3 CPUs of one node"):
        sweep_run.run(study, run, Console(quiet=True), sweep_run.RunOptions(address))
    assert not (run.folder / "trials").exists()
