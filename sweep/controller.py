"""What is left to do -> trials on a Ray cluster -> records. The only module that imports ray.

Ray's own state is disposable: Tune asks our queue for trials that have no record, and forgets them when the run ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Read by ray when it is imported: our own display replaces Tune's, Ctrl-C is ours, and nothing is logged twice.
os.environ |= {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # its kills make fit() itself raise
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
}

import ray
from ray import tune

from sweep.queue import Queue, Turn
from sweep.store import Run
from sweep.study import InputError, Study
from sweep.trial import Record, Status, Trial
from sweep.worker import work

OBJECT_STORE_BYTES = 256 * 2**20  # trials pass nothing through it
REASON_LENGTH = 500
MOST_TRIALS = 10**9  # the queue says when it is done
SECRETS = ("HF_TOKEN", "WANDB_API_KEY")  # reach the workers by Ray's environment, never by a file


@dataclass(frozen=True)
class Progress:
    """What the controller tells while it runs: a trial started, or ended with its record."""

    trial: Trial
    record: Record | None = None


Watch = Callable[[Progress], None]


def run_trials(
    study: Study, run: Run, make_queue: Callable[[int], Queue], watch: Watch, address: str | None = None
) -> None:
    """Run what a queue gives until each trial has a record; one that keeps failing gets one that says so, and the
    others go on.

    `make_queue` is told how many trials run at once. `address`: of a Ray cluster, None for this machine alone. Raises
    InputError where the cluster can never hold a trial. On KeyboardInterrupt finished trials keep their records.
    """
    with _cluster(run, address), tempfile.TemporaryDirectory(prefix="almr-ray-") as scratch:
        _refuse_impossible(study)
        tuner = tune.Tuner(
            tune.with_resources(_trainable(run), _bundle(study)),
            tune_config=tune.TuneConfig(
                reuse_actors=True,  # a process that has imported torch serves many trials
                search_alg=_Searcher(make_queue(_at_once(study))),
                num_samples=MOST_TRIALS,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=study.resources.retries),
                callbacks=[_Callback(study, run, watch)],
            ),
        )
        tuner.fit()


def _trainable(run: Run) -> Callable[[dict[str, Any]], dict[str, Any]]:
    folder = str(run.folder)

    def train(config: dict[str, Any]) -> dict[str, Any]:
        record = work(folder, Trial.model_validate(config["trial"]))
        return {"status": record.status.value}

    return train


def _at_once(study: Study) -> int:
    """Trials that the cluster holds, at most as many as the study states; resources of 0 take no room."""
    have = ray.cluster_resources()  # type: ignore[no-untyped-call]
    asked = {"CPU": study.resources.cpus, "GPU": study.resources.gpus}
    fits = max(1, min(int(have.get(key, 0) // amount) for key, amount in asked.items() if amount))
    return min(fits, study.resources.concurrent or fits)


class _Searcher(tune.search.Searcher):
    """Tune's way to ask our queue. It is never saved: the records are the state."""

    def __init__(self, queue: Queue) -> None:
        super().__init__(metric="status", mode="min")
        self.queue = queue
        self.given: dict[str, Trial] = {}

    def suggest(self, trial_id: str) -> Any:
        turn = self.queue.next()
        if isinstance(turn, Turn):
            return self.FINISHED if turn is Turn.DONE else None
        self.given[trial_id] = turn
        return {"trial": turn.model_dump()}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.queue.ended(self.given.pop(trial_id))

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        raise AssertionError("a sweep is resumed from its records")


def _bundle(study: Study) -> Any:
    bundle = {"CPU": float(study.resources.cpus), "GPU": float(study.resources.gpus)}
    return tune.PlacementGroupFactory([{key: amount for key, amount in bundle.items() if amount}])


@contextlib.contextmanager
def _cluster(run: Run, address: str | None) -> Iterator[None]:
    """Join a cluster or start one here; workers run the code staged in the run directory, whatever the user's cwd."""
    local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    environment = {name: os.environ[name] for name in ("ALMR_CACHE", *SECRETS) if name in os.environ}
    ray.init(
        address=address or "local",
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"working_dir": str(run.code), "env_vars": environment},
        **({} if address else local),
    )
    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # failures are in records and train.log, in our words
    try:
        yield
    finally:
        ray.shutdown()


def _refuse_impossible(study: Study) -> None:
    """A request that no node can hold would wait for ever."""
    nodes = [
        node["Resources"]
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]
    for field, key, asked in (("cpus", "CPU", study.resources.cpus), ("gpus", "GPU", study.resources.gpus)):
        largest = max((node.get(key, 0) for node in nodes), default=0)
        if asked > largest:
            raise InputError(f"resources.{field}: {asked} asked for one trial, the largest node has {largest:g}")


class _Callback(tune.Callback):
    """Turns Tune's events into Progress, and a trial that failed for good into its record."""

    def __init__(self, study: Study, run: Run, watch: Watch) -> None:
        self.study, self.run, self.watch = study, run, watch

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tuner pickles its callbacks for a restore that we never ask for; a terminal cannot be pickled

    def __deepcopy__(self, memo: dict[int, Any]) -> _Callback:
        return self

    def __copy__(self) -> _Callback:
        return self

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.watch(Progress(_ours(trial)))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.watch(Progress(_ours(trial), self.run.record(_ours(trial))))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        failed = _ours(trial)
        if (done := self.run.record(failed)) and done.status is Status.COMPLETE:  # it came again to be scored
            lost = {"score_failures": {"scoring": _reason(Path(trial.error_file))}}
            self.run.finish(done.model_copy(update=lost))
            return
        asked = self.run.asked(failed)
        record = Record(
            **failed.model_dump(),
            proposed=asked.proposed if asked else None,
            trial_id=failed.id,
            fingerprint=self.study.fingerprint,
            status=Status.FAILED,
            attempt=self.run.attempts(failed),
            reason=_reason(Path(trial.error_file)),
        )
        self.run.finish(record)
        self.watch(Progress(failed, record))


def _ours(trial: Any) -> Trial:
    return Trial.model_validate(trial.config["trial"])


def _reason(error_file: Path) -> str:
    """The last line of Tune's account of a failure, which names the exception or how the process ended."""
    lines = error_file.read_text(errors="replace").strip().splitlines() if error_file.is_file() else []
    return lines[-1].strip()[:REASON_LENGTH] if lines else "the worker ended without saying why"
