"""torchrun's arguments for a worker group. Separate from `torchrun.py`, which imports torch."""

from __future__ import annotations

import errno
from dataclasses import dataclass

PORT_TAKEN = errno.EADDRINUSE  # exit status of sweep.worker.group.torchrun where another process has taken the port


@dataclass(frozen=True)
class Rendezvous:
    """The rendezvous of a worker group's nodes (address and port of node 0), as node number `node` sees it."""

    address: str
    port: int
    nodes: int
    node: int
    workers_per_node: int
    cpus_per_worker: int
    gpus: bool = False


def torchrun_arguments(rendezvous: Rendezvous, grace_seconds: float) -> list[str]:
    """A static rendezvous without restarts: Ray Tune starts a worker group that failed again, as a whole."""
    return [
        f"--nnodes={rendezvous.nodes}",
        f"--node-rank={rendezvous.node}",
        f"--nproc-per-node={rendezvous.workers_per_node}",
        f"--master-addr={rendezvous.address}",
        f"--master-port={rendezvous.port}",
        f"--shutdown-timeout={max(1, int(grace_seconds / 2))}",
        "--max-restarts=0",
        "-m",
    ]
