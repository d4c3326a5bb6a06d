"""One Ray cluster for all tests that need none of their own, and the command `almr` in this process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sweep import cli

CPUS = 2  # of each node
SMALL: dict[str, Any] = {"num_cpus": CPUS, "object_store_memory": 80 * 2**20}


class TwoNodes:
    """A cluster of two nodes on this machine. It takes no process's connection: each test has its own."""

    def __init__(self) -> None:
        import sweep.controller  # noqa: F401, I001  # before ray, which reads its environment when it is imported
        from ray.cluster_utils import Cluster

        began = time.monotonic()
        self._cluster = Cluster(True, head_node_args=SMALL | {"include_dashboard": False})
        self._other = self._add()
        self.address: str = self._cluster.address
        self.seconds = time.monotonic() - began  # to start it, which tells how busy this machine is

    def _add(self) -> Any:
        """A node with a folder of its own for staged code, as on a machine of its own: a node removes what it finds in
        that folder, and workers of another one would lose the folder that they run in.
        """
        own = f"code_{time.monotonic_ns()}"
        return self._cluster.add_node(**SMALL, runtime_env_dir_name=own)

    @contextlib.contextmanager
    def serves(self) -> Iterator[None]:
        """Runs of this process that name no address join this cluster, and start none."""
        from sweep.controller import cluster, local_ray

        join = cluster.joined
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cluster, "joined", lambda run, _: join(run, self.address))
            patch.setattr(local_ray, "ahead", contextlib.nullcontext)
            yield

    def lose_one(self) -> None:
        """Kill the node that is not the head, where it still is."""
        if self._other in self._cluster.worker_nodes:
            self._cluster.remove_node(self._other, allow_graceful=False)

    @contextlib.contextmanager
    def third(self) -> Iterator[str]:
        """The id of one more node, which may die meanwhile."""
        node = self._add()
        try:
            yield node.node_id
        finally:
            with contextlib.suppress(Exception):  # it is dead
                self._cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


def almr(folder: Path, *arguments: str, status: tuple[int, ...] = (0,)) -> str:
    """What the command prints in `folder`: its standard output, or the error that ended it. Asserts its status."""
    with contextlib.chdir(folder):
        result = CliRunner().invoke(cli.app, arguments)
    if isinstance(result.exception, Exception):
        lines, found = cli.terminal.explain(result.exception)
        assert found in status, f"{arguments} gave {found}: {result.exception!r}\n{result.output}"
        return "\n".join(lines)
    assert result.exit_code in status, f"{arguments} gave {result.exit_code}\n{result.output}"
    return result.stdout
