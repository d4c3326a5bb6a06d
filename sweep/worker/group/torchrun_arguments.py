"""How torchrun is told where a gang meets. Apart from `torchrun.py`, which costs the import of torch."""

from __future__ import annotations

import errno
from dataclasses import dataclass

PORT_TAKEN = errno.EADDRINUSE  # the exit status of sweep.worker.group.torchrun where the port was taken meanwhile


@dataclass(frozen=True)
class Rendezvous:
    """Where the nodes of a gang meet (address and port of node 0), and which of them this one is."""

    address: str
    port: int
    nodes: int
    node: int
    workers_per_node: int
    cpus_per_worker: int
    gpus: bool = False


def arguments(meeting: Rendezvous, grace_seconds: float) -> list[str]:
    """A static rendezvous: nobody joins later, and Tune starts a gang that failed anew."""
    return [
        f"--nnodes={meeting.nodes}",
        f"--node-rank={meeting.node}",
        f"--nproc-per-node={meeting.workers_per_node}",
        f"--master-addr={meeting.address}",
        f"--master-port={meeting.port}",
        f"--shutdown-timeout={max(1, int(grace_seconds / 2))}",
        "--max-restarts=0",
        "-m",
    ]
