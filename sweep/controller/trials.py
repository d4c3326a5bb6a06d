"""What is left to do -> trials by Ray Tune -> records.

Ray's own state is disposable: Tune asks our queue for trials that have no record, and forgets them when the run ends.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

from sweep.controller import cluster
from sweep.controller.worker_group import run_gang
from sweep.store.run import Run
from sweep.study.record import SCORING, Record
from sweep.study.study import Study
from sweep.study.trial import Status, Trial
from sweep.trials import capacity
from sweep.trials.queue import Queue, Turn
from sweep.worker import hang
from sweep.worker.run_trial import work

REASON_LENGTH = 500
MOST_TRIALS = 10**9  # the queue says when it is done


@dataclass(frozen=True)
class TrialEvent:
    """What the controller tells while it runs: a trial started, or ended with its record."""

    trial: Trial
    record: Record | None = None


Watch = Callable[[TrialEvent], None]


def run_trials(
    study: Study, run: Run, make_queue: Callable[[int], Queue], watch: Watch, address: str | None = None
) -> None:
    """Run what a queue gives until each trial has a record; one that keeps failing gets one that says so, and the
    others go on.

    `make_queue` is told how many trials run at once. `address`: of a Ray cluster, None for this machine alone. Raises
    InputError where the cluster can never hold a trial. On KeyboardInterrupt finished trials keep their records.
    """
    with cluster.joined(run, address), tempfile.TemporaryDirectory(prefix="almr-ray-") as scratch:
        nodes = cluster.nodes()
        capacity.refuse_impossible(nodes, study.resources)
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_trainable(run, study.resources.worker_group), secrets=cluster.secrets()),
                cluster.place(study.resources),
            ),
            tune_config=tune.TuneConfig(
                reuse_actors=True,  # a process that has imported torch serves many trials
                search_alg=_Searcher(make_queue(capacity.at_once(nodes, study.resources))),
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


def _trainable(run: Run, gang: bool) -> Callable[[dict[str, Any], dict[str, str]], dict[str, Any]]:
    """In the first bundle of a trial's placement group: the trial itself, or the launcher of its gang."""
    address = run.address

    def train(config: dict[str, Any], secrets: dict[str, str]) -> dict[str, Any]:
        os.environ.update(secrets)
        trial = Trial.model_validate(config["trial"])
        record = run_gang(address, trial) if gang else work(address, trial)
        return {"status": record.status.value}

    return train


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
        self.watch(TrialEvent(_ours(trial)))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.watch(TrialEvent(_ours(trial), self.run.await_record(_ours(trial))))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        failed = _ours(trial)
        self.run.refresh(failed)
        if (done := self.run.record(failed)) and done.status is Status.COMPLETE:  # it came again to be scored
            lost = {"score_failures": {SCORING: _reason(Path(trial.error_file), self.run.log(failed))}}
            self.run.finish(record := done.model_copy(update=lost))
            self.watch(TrialEvent(failed, record))
            return
        record = Record(
            **failed.model_dump(),
            proposed=self.run.proposed(failed),
            trial_id=failed.id,
            fingerprint=self.study.fingerprint,
            status=Status.FAILED,
            attempt=self.run.attempts(failed),
            reason=_reason(Path(trial.error_file), self.run.log(failed)),
        )
        self.run.finish(record)
        self.watch(TrialEvent(failed, record))


def _ours(trial: Any) -> Trial:
    return Trial.model_validate(trial.config["trial"])


def _reason(error_file: Path, log: Path) -> str:
    """The last line of Tune's account of a failure, which names the exception or how the process ended; the log's last
    line where the worker ended itself.
    """
    said = _last_line(log)
    if said.startswith(hang.KILLED):
        return said.removeprefix(hang.KILLED)
    told = re.sub(r"^sweep\.[\w.]+Error: ", "", _last_line(error_file))
    return told[:REASON_LENGTH] or "the worker ended without saying why"


def _last_line(file: Path) -> str:
    lines = file.read_text(errors="replace").strip().splitlines() if file.is_file() else []
    return lines[-1].strip() if lines else ""
