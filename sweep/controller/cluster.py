"""Joins a Ray cluster or starts one on this machine, and reads the resources of its nodes."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

import ray
from ray import tune
from ray.tune.execution import class_cache

from sweep.controller import local_ray
from sweep.store.interruption import kept_handlers, with_kept_handlers
from sweep.store.run import Run
from sweep.study.sections.resources import Resources
from sweep.trials import capacity

# Not passed in Ray's runtime_env: every node's runtime_env_agent.log shows that in full.
OF_OBJECT_STORES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
SECRETS = (
    *OF_OBJECT_STORES,
    "HF_TOKEN",
    "WANDB_API_KEY",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
)


@contextlib.contextmanager
def joined(run: Run, address: str | None) -> Iterator[None]:
    """Join the cluster at an address, or start one on this machine (None). Workers run the run's staged code.

    Raises RayEndedError where a Ray of this machine does not start, or ends.
    """
    with contextlib.nullcontext(address) if address else local_ray.started() as found:
        environment = {name: os.environ[name] for name in ("ALMR_CACHE",) if name in os.environ}
        with kept_handlers():
            ray.init(
                address=found,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"working_dir": str(run.files.code), "env_vars": environment},
            )
        for name in ("ray.tune", "ray.train"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # records and train.log report failures
        try:
            yield
        finally:
            with_kept_handlers(ray.shutdown)


def pass_no_secrets() -> None:
    """Tune would pass the keys of object stores in its runtime_env."""
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(SECRETS)


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
