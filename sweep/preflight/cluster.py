"""Asks every node of a Ray cluster what it sees, with one task pinned to each."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray import cloudpickle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweep.preflight import node
from sweep.preflight.checks import NodeReport
from sweep.study.errors import InputError

ANSWER_SECONDS = 60.0
CONNECT_SECONDS = 5.0
Look = Callable[[dict[str, Any]], dict[str, Any]]


def ask(
    request: dict[str, Any], address: str, look: Look = node.look, seconds: float = ANSWER_SECONDS
) -> list[NodeReport]:
    """One answer a node, each waited for at most `seconds`. Raises InputError where no cluster is at the address."""
    with _joined(address):
        return _ask(request, look, seconds)


def _ask(request: dict[str, Any], look: Look, seconds: float) -> list[NodeReport]:
    alive = [
        n
        for n in ray.nodes()  # type: ignore[no-untyped-call]
        if n["Alive"]
    ]
    free = ray._private.state.available_resources_per_node()  # type: ignore[no-untyped-call]
    asked = {n["NodeID"]: _pinned(look, n["NodeID"]).remote(request) for n in alive}
    ready, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=seconds)
    answers = {node_id: _answer(ref) for node_id, ref in asked.items() if ref in ready}
    late = (None, f"{seconds:.0f} s have passed")
    return [
        NodeReport(n["NodeManagerHostname"], n["Resources"], free.get(n["NodeID"], {}), *answers.get(n["NodeID"], late))
        for n in alive
    ]


def _pinned(look: Look, node_id: str) -> Any:
    where: Any = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=where)(look)


def _answer(ref: Any) -> tuple[dict[str, Any] | None, str]:
    try:
        return ray.get(ref), ""
    except Exception as error:  # whatever a node's worker died of
        lines = str(error).strip().splitlines()
        return None, lines[-1][:200] if lines else type(error).__name__


@contextlib.contextmanager
def _joined(address: str) -> Iterator[None]:
    """Our module travels by value: a node that does not see the storage has no copy of it."""
    _refuse_closed(address)
    cloudpickle.register_pickle_by_value(node)  # type: ignore[no-untyped-call]
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError) as error:
        raise _no_cluster(address, error) from None
    try:
        yield
    finally:
        ray.shutdown()
        cloudpickle.unregister_pickle_by_value(node)  # type: ignore[no-untyped-call]


def _refuse_closed(address: str) -> None:
    """Ray itself would try for minutes to reach an address where nothing listens."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        except OSError as error:
            raise _no_cluster(address, error) from None


def _no_cluster(address: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(
        f"--address {address}: no Ray cluster answers there ({reason}); start one, or correct the address"
    )
