"""Runs the probe on every node of a Ray cluster, as one task pinned to each."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray import cloudpickle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweep.preflight import probe
from sweep.preflight.checks import NodeReport
from sweep.preflight.probe import Inspect
from sweep.store.interruption import kept_handlers
from sweep.study import InputError
from sweep.study.errors import one_line
from trainers.benchmarks import sandbox

CODE = Path(__file__).parents[2]
ANSWER_SECONDS = 60.0
LATE = f"waited {ANSWER_SECONDS:.0f} s"
CONNECT_SECONDS = 5.0


def query(request: dict[str, Any], address: str, inspect: Inspect = probe.inspect) -> list[NodeReport]:
    """One report per live node; none of a node that dies meanwhile. Raises InputError where no cluster is at the
    address.
    """
    with _joined(address):
        alive = _alive()
        free = ray._private.state.available_resources_per_node()  # type: ignore[no-untyped-call]
        pending = {node_id: _pinned(inspect, node_id).remote(request) for node_id in alive}
        answers = _answers(pending)
        return [
            NodeReport(node["NodeManagerHostname"], node["Resources"], free.get(node_id, {}), *answers[node_id])
            for node_id, node in alive.items()
            if node_id in answers
        ]


def _alive() -> dict[str, dict[str, Any]]:
    """Ray's description of each live node, by its id."""
    every = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: node for node in every if node["Alive"]}


def _answers(pending: dict[str, Any]) -> dict[str, tuple[dict[str, Any] | None, str]]:
    """Those of the nodes that live: Ray takes one that has just died for alive, until it misses it."""
    until = time.monotonic() + ANSWER_SECONDS
    living, ready = set(pending), list[Any]()
    while any(pending[node_id] not in ready for node_id in living) and time.monotonic() < until:
        ready, _ = ray.wait(list(pending.values()), num_returns=len(pending), timeout=0.5)
        living &= _alive().keys()
    return {node_id: _answer(pending[node_id]) if pending[node_id] in ready else (None, LATE) for node_id in living}


def _pinned(inspect: Inspect, node_id: str) -> Any:
    where: Any = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=where)(inspect)


def _answer(ref: Any) -> tuple[dict[str, Any] | None, str]:
    try:
        return ray.get(ref), ""
    except Exception as error:  # of any kind: a node's worker may have died
        lines = str(error).strip().splitlines()
        return None, lines[-1][:200] if lines else type(error).__name__


@contextlib.contextmanager
def _joined(address: str) -> Iterator[None]:
    """The probe is pickled by value: a node that does not see the storage has no copy of it."""
    _refuse_closed(address)
    for module in (probe, sandbox):
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    try:
        # Ray puts the driver's working directory before the standard library on each worker's path: here it is ours.
        with contextlib.chdir(CODE), kept_handlers():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        raise _no_cluster(address, error, ", or set RAY_AUTH_MODE=token where it asks for a token") from None
    try:
        yield
    finally:
        with kept_handlers():
            ray.shutdown()
        for module in (probe, sandbox):
            cloudpickle.unregister_pickle_by_value(module)  # type: ignore[no-untyped-call]


def _refuse_closed(address: str) -> None:
    """Raises InputError at once for an address where nothing listens, which Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        except (OSError, UnicodeError, OverflowError) as error:  # no address, no name of a host, no port
            raise _no_cluster(address, error) from None


def _no_cluster(address: str, error: Exception, more: str = "") -> InputError:
    reason = one_line(error, 200)
    return InputError(
        f"--address {address}: no Ray cluster answers there ({reason}): start one, or correct the address{more}"
    )
