"""Joins a Ray cluster or starts one on this machine, and reads the resources of its nodes."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from typing import Any

import ray
from ray import tune

from sweep.store.run import Run
from sweep.study.sections.resources import Resources
from sweep.trials import capacity

OBJECT_STORE_BYTES = 256 * 2**20  # small: trials exchange nothing through it
# Not passed in Ray's runtime_env: every node's runtime_env_agent.log shows that in full.
SECRETS = (
    "HF_TOKEN",
    "WANDB_API_KEY",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
)
TOO_SLOW = "timed out during startup"  # in the message of Ray, which has no class of error for it


@contextlib.contextmanager
def joined(run: Run, address: str | None) -> Iterator[None]:
    """Join the cluster at an address, or start one on this machine (None). Workers run the run's staged code."""
    local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    environment = {name: os.environ[name] for name in ("ALMR_CACHE",) if name in os.environ}
    options: dict[str, Any] = {
        "address": address or "local",
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": {"working_dir": str(run.files.code), "env_vars": environment},
    }
    _init(options | ({} if address else local))
    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # records and train.log report failures
    try:
        yield
    finally:
        ray.shutdown()


def _init(options: dict[str, Any]) -> None:
    """Start or join Ray; a second time where its own processes did not start in time, on a busy machine.

    Raises OSError where they did not the second time either.
    """
    for last in (False, True):
        try:
            ray.init(**options)
            return
        except Exception as error:
            if TOO_SLOW not in str(error):
                raise
            ray.shutdown()
            if last:
                raise OSError(errno.ETIME, "Ray did not start in time (the machine is busy)") from error


def secrets() -> dict[str, str]:
    """Credentials of this process, which reach the workers through memory only."""
    return {name: os.environ[name] for name in SECRETS if name in os.environ}


def nodes() -> list[capacity.Node]:
    """The resources of each live node of the cluster, used or free."""
    every = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in every if node["Alive"]]


def place(resources: Resources) -> Any:
    """A placement group for one trial: one bundle for each of its nodes, each on another machine.

    Tune's own process of the trial runs in the first bundle.
    """
    bundles = [capacity.bundle(resources) for _ in range(resources.nodes)]
    return tune.PlacementGroupFactory(bundles, strategy="STRICT_SPREAD" if resources.nodes > 1 else "PACK")
