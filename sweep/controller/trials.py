"""Runs the trials of a queue with Ray Tune until each has a record.

Ray's own state is disposable: Tune takes trials without a record from our queue, and forgets them when the run ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune

from sweep.controller import cluster, lost_workers, stopping, tune_memory
from sweep.controller.external_trial import run_external
from sweep.controller.stopping import Stopping
from sweep.controller.worker_group import run_worker_group
from sweep.external import choose
from sweep.store import temporary
from sweep.store.run import Run
from sweep.study import InputError, Record, Status, Study, Trial
from sweep.study.errors import without_secrets
from sweep.study.files import disk, unfinished
from sweep.study.files.layout import TRIALS
from sweep.study.record import SCORING, TrainerUsed
from sweep.trials import capacity, failure
from sweep.trials.queue import Queue, Turn
from sweep.worker.run_trial import work
from sweep.worker.watch import watched

NO_LIMIT = 10**9  # trials: the queue decides when the run is over


Watch = Callable[[Trial, Record | None], None]  # a trial has started (None), or ended with its record


def run_trials(
    study: Study, run: Run, make_queue: Callable[[int], Queue], watch: Watch, address: str | None = None
) -> None:
    """Run the trials of a queue until each has a record. A trial that fails on every retry gets a record of status
    failed, and the others go on.

    `make_queue` takes the number of trials that run at once. `address` is a Ray cluster's; None means this machine.
    Raises InputError where no node of the cluster can ever hold a trial, where the last trials failed of one cause, and
    where a trial has changed the base model; OSError or InputError where storage fails. After these and
    KeyboardInterrupt, records stay.
    """
    if study.trainer.external and not study.replay:
        choose.trainer(study)
    lost_workers.fail_their_trials()
    with cluster.joined(run, address), temporary.folder("ray") as scratch:
        nodes = cluster.nodes()
        capacity.refuse_impossible(nodes, study.trial_resources)
        cluster.pass_no_secrets()
        tune_memory.keep_workers()
        stop, queue = Stopping(), make_queue(capacity.at_once(nodes, study.trial_resources))
        tuner = _tuner(study, run, _Searcher(queue, stop), _Callback(study, run, watch, stop), scratch)
        with disk.naming(scratch):
            tuner.fit()
        stop.raise_noted()
        if fault := queue.fault:
            raise InputError(fault)


def _tuner(study: Study, run: Run, searcher: _Searcher, callback: _Callback, scratch: Path) -> tune.Tuner:
    return tune.Tuner(
        tune.with_resources(
            tune.with_parameters(_trainable(run, study), secrets=cluster.secrets()),
            cluster.place(study.trial_resources),
        ),
        tune_config=tune.TuneConfig(
            reuse_actors=True,  # a process that has imported torch runs many trials
            search_alg=searcher,
            num_samples=NO_LIMIT,
        ),
        run_config=tune.RunConfig(
            storage_path=str(scratch),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=study.trial_resources.retries),
            callbacks=[callback],
            stop=callback.stopping,
        ),
    )


def _worker(study: Study) -> Callable[[str, Trial, str | None], Record]:
    """What runs a trial of the run at an address, in a process of Tune: it trains there, or starts what trains."""
    if study.trainer.external and not study.replay:
        return run_external
    return run_worker_group if study.trial_resources.worker_group else work


def _trainable(run: Run, study: Study) -> Callable[[dict[str, Any], dict[str, str]], dict[str, Any]]:
    """Tune's function for one trial."""
    address, worker, minutes = run.address, _worker(study), study.trial_resources.hang_minutes

    def train(config: dict[str, Any], secrets: dict[str, str]) -> dict[str, Any]:
        os.environ.update(secrets)
        watched.start(minutes)
        trial = Trial.model_validate(config["trial"])
        try:
            return {"status": worker(address, trial, config["had"]).status.value}
        except (Exception, SystemExit) as error:  # the latter would end the process, and its text with it
            if stopped := stopping.of_worker(error, Path(address, TRIALS, trial.id)):
                return stopped
            raise failure.RaisedError.of(error) from None  # its traceback stands in the trial's log

    return train


class _Searcher(tune.search.Searcher):
    """Gives Tune the trials of our queue. It has no state to save: the records are the state."""

    def __init__(self, queue: Queue, stopping: Stopping) -> None:
        super().__init__(metric="status", mode="min")
        self.queue, self.stopping = queue, stopping
        self.given: dict[str, Trial] = {}

    def suggest(self, trial_id: str) -> Any:
        turn: Trial | Turn = Turn.DONE
        with self.stopping.noting():
            turn = self.queue.next()
        if isinstance(turn, Turn):
            return self.FINISHED if turn is Turn.DONE else None
        self.given[trial_id] = turn
        return {"trial": turn.model_dump(), "had": self.queue.run.record_sha256(turn)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        with self.stopping.noting():
            self.queue.ended(self.given.pop(trial_id))

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        raise AssertionError("a sweep is resumed from its records")


class _Callback(tune.Callback):
    """Passes Tune's events on to `watch`, and writes the record of a trial that failed on every retry."""

    def __init__(self, study: Study, run: Run, watch: Watch, stopping: Stopping) -> None:
        self.study, self.run, self.watch, self.stopping = study, run, watch, stopping
        self.began: dict[str, float] = {}  # first attempts
        self.ended = tune_memory.EndedTrials()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tuner pickles its callbacks for a restore that we never use; a terminal cannot be pickled

    def __deepcopy__(self, memo: dict[int, Any]) -> _Callback:
        return self

    def __copy__(self) -> _Callback:
        return self

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.began.setdefault(_ours(trial).id, time.monotonic())
        with self.stopping.noting():
            self.watch(_ours(trial), None)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.began.pop(_ours(trial).id, None)
        if error := stopping.told(trial.last_result):
            self.stopping.note(error)
        if not self.stopping.error:
            with self.stopping.noting():
                self.watch(_ours(trial), self.run.await_record(_ours(trial)))
        self.ended.add(trial)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.ended.empty()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        with self.stopping.noting():
            self._keep_failed(_ours(trial), Path(trial.error_file), trial.config["had"])

    def _keep_failed(self, failed: Trial, error_file: Path, had: str | None) -> None:
        """Write the record of a trial that failed on every retry. Raises OSError for a fault of storage: the others
        would fail as well. `had`: the sha256 of the record that it had before, which then was to be scored.
        """
        self.run.refresh(failed)
        self.run.fetch_late(failed)
        reason = without_secrets(failure.reason(error_file, failure.TrialLog(self.run, failed)))
        if fault := disk.in_text(reason, self.run.trial_folder(failed)):
            raise fault
        if (done := self.run.record(failed)) and done.status is not Status.FAILED:
            unscored = self.study.benchmarks and self.run.record_sha256(failed) == had  # only its scoring failed
            record = done.model_copy(update={"score_failures": {SCORING: reason}} if unscored else {})
            unfinished.remove(self.run.files.trial(failed.id).again)  # nobody goes on with what a killed worker left
        else:
            record = Record(
                **failed.model_dump(),
                proposed=self.run.proposed(failed),
                trial_id=failed.id,
                fingerprint=self.study.fingerprint,
                status=Status.FAILED,
                attempt=self.run.attempts(failed),
                reason=reason,
                trainer=TrainerUsed(name=self.study.trainer.name),
                **self._used(failed),
            )
        self.run.finish(record)
        self.watch(failed, record)

    def _used(self, failed: Trial) -> dict[str, Any]:
        """What a trial took that has no record of its own: its attempts in this session, and the steps of the last."""
        now = time.monotonic()
        seconds = now - self.began.pop(failed.id, now)
        return {
            "seconds": seconds,
            "gpu_hours": seconds * self.study.trial_resources.gpus / 3600,
            "trained_tokens": self.run.progress(failed) * self.study.training.global_batch_tokens,
        }


def _ours(trial: Any) -> Trial:
    return Trial.model_validate(trial.config["trial"])
