"""Joining a Ray cluster or starting one here, and what its machines have."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

import ray
from ray import tune

from sweep.store.run import Run
from sweep.study.sections.resources import Resources
from sweep.trials import capacity

OBJECT_STORE_BYTES = 256 * 2**20  # trials pass nothing through it
# Not in Ray's runtime_env: every node's runtime_env_agent.log has that in full.
SECRETS = (
    "HF_TOKEN",
    "WANDB_API_KEY",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
)


@contextlib.contextmanager
def joined(run: Run, address: str | None) -> Iterator[None]:
    """Join a cluster or start one here; workers run the code staged in the run directory, whatever the user's cwd."""
    local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    environment = {name: os.environ[name] for name in ("ALMR_CACHE",) if name in os.environ}
    ray.init(
        address=address or "local",
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"working_dir": str(run.files.code), "env_vars": environment},
        **({} if address else local),
    )
    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # failures are in records and train.log, in our words
    try:
        yield
    finally:
        ray.shutdown()


def secrets() -> dict[str, str]:
    """Credentials of this process, to be handed to the workers in memory alone."""
    return {name: os.environ[name] for name in SECRETS if name in os.environ}


def nodes() -> list[capacity.Node]:
    """What each living machine of the cluster has, used or not."""
    every = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in every if node["Alive"]]


def place(resources: Resources) -> Any:
    """A placement group for one trial: a bundle on each of its nodes, all of them on different machines.

    Tune's own process for the trial lives in the first.
    """
    bundles = [capacity.bundle(resources) for _ in range(resources.nodes)]
    return tune.PlacementGroupFactory(bundles, strategy="STRICT_SPREAD" if resources.nodes > 1 else "PACK")
