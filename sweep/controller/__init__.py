"""Runs trials on a Ray cluster. Of the product only this package and sweep/preflight import ray."""

import os

# Ray reads these when it is imported: our display replaces Tune's, we handle Ctrl-C, nothing is logged twice, and the
# first trials' workers start side by side.
os.environ |= {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # a kill by the memory monitor makes fit() itself raise
    "RAY_prestart_worker_first_driver": "0",  # workers that it starts ahead lack the run's code: none is ever used
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_MAX_PENDING_TRIALS_PG": "16",  # workers that start at a time: 1 by default
}

os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # a Ray of this machine listens on loopback only

from collections.abc import Callable
from contextlib import AbstractContextManager

from sweep.controller import local_ray
from sweep.store.run import Run
from sweep.study import Record, Study, Trial
from sweep.trials.queue import Queue
from trainers.workers.importing import without_collection


def ahead(address: str | None) -> AbstractContextManager[None]:
    """Ray begins to start on this machine, for what runs trials in the block; with an address nothing does."""
    return local_ray.ahead(address)


def run_trials(
    study: Study,
    run: Run,
    make_queue: Callable[[int], Queue],
    watch: Callable[[Trial, Record | None], None],
    address: str | None = None,
) -> None:
    """As `sweep.controller.trials` runs them. Ray starts while the libraries that use it are imported, or before."""
    with ahead(address):
        with without_collection():
            from sweep.controller import trials

        trials.run_trials(study, run, make_queue, watch, address)
