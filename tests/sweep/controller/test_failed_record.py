"""The record of a trial that failed on every retry, which the controller writes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from samples import make_study

from sweep.controller import lost_workers
from sweep.controller.stopping import Stopping
from sweep.controller.trials import _Callback
from sweep.store.run import Run
from sweep.study import Record, Status, Trial
from sweep.trials import failure
from sweep.worker.run_trial import standing
from sweep.worker.watch import ending


@pytest.mark.parametrize("trainer", ["native", "megatron"])
def test_it_names_the_trainer_that_was_asked(tmp_path: Path, trainer: str) -> None:
    study, run, trial = make_study(trainer=trainer), Run(tmp_path / "run"), Trial(almr=0.5, lr=1e-3, seed=0)
    run.start(trial, study)
    (error := tmp_path / "error.txt").write_text("Traceback\nsweep.external.trial.job.TrialError: out of memory\n")
    told: list[Record | None] = []
    callback = _Callback(study, run, lambda of, record: told.append(record), Stopping())
    callback.on_trial_error(0, [], SimpleNamespace(config={"trial": trial.model_dump()}, error_file=str(error)))
    record = run.record(trial)
    assert record
    assert told == [record]
    assert (record.status, record.reason, record.trainer.name) == ("failed", "out of memory", trainer)


DIED = "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n"
MONITOR = (
    "Task was killed due to the node running low on memory.\n"
    "Memory on the node (IP: 10.0.0.7, ID: 5f) where the task was running was 31.20GB / 32.00GB (0.975), which exceeds "
    "the memory usage threshold of 0.95.\nRefer to the documentation on how to address the out of memory issue.\n"
)


@pytest.mark.parametrize(
    ("error", "log", "words"),
    [
        (DIED, f"{ending.ENDED}crashed in native code: Aborted", "crashed in native code: Aborted"),
        (DIED + "The actor died because its node has died.", "", "its node was lost: read Ray's log of that node"),
        (DIED + "Worker exits with an exit code 4.", "", "its process ended itself with status 4, as by sys.exit"),
        (DIED, "step 3", "the worker process ended without a message: killed, perhaps for memory, or crashed"),
        (MONITOR, "", "killed by Ray's memory monitor, for the memory of its node was nearly full (31.20GB of 32.00GB"),
        ("Traceback\nMemoryError: cannot allocate 8 TB\n", "", "MemoryError: cannot allocate 8 TB"),
        ("Traceback\nImportError: libcudart.so.12\n", "", "the worker cannot import its code: libcudart.so.12"),
        ("", "", "the worker process ended without a message: see its train.log"),
    ],
)
def test_the_cause_is_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, log: str, words: str
) -> None:
    monkeypatch.setattr(failure, "WATCHER_SECONDS", 0.01)
    (told := tmp_path / "error.txt").write_text(error)
    (own := tmp_path / "train.log").write_text(f"--- attempt 1\n{log}\n")
    assert failure.reason(told, own).startswith(words)
    assert len(failure.reason(told, own).splitlines()) == 1


FIRST, SECOND = ("Failure # {} (occurred at 2026-11-29_15-05-{})\n".format(*of) for of in ((1, 17), (2, 24)))
NOT_STARTED = "The actor died because of an error raised in its creation task, ray::ImplicitFunc.__init__()\n"


@pytest.mark.parametrize(
    ("error", "log", "words"),
    [
        (FIRST + DIED + SECOND + "Traceback\nValueError: no such token\n", "", "ValueError: no such token"),
        (FIRST + "Traceback\nValueError: once\n" + SECOND + DIED, f"{ending.ENDED}Aborted", "Aborted"),
        (FIRST + DIED + SECOND + NOT_STARTED + "OSError: disk\n", f"{ending.ENDED}Aborted", "OSError: disk"),
    ],
)
def test_of_several_failures_the_last_one_is_the_cause(tmp_path: Path, error: str, log: str, words: str) -> None:
    (told := tmp_path / "error.txt").write_text(error)
    (own := tmp_path / "train.log").write_text(f"--- attempt 1\n{log}\n")
    assert failure.reason(told, own) == words


@pytest.mark.parametrize("status", ["complete", "diverged"])
def test_a_result_stands_although_its_worker_ended_before_tune_knew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr(failure, "WATCHER_SECONDS", 0.01)
    study, run, trial = make_study(), Run(tmp_path / "run"), Trial(almr=0.5, lr=1e-3, seed=0)
    run.freeze(study)
    kept = Record(
        **trial.model_dump(), trial_id=trial.id, fingerprint=study.fingerprint, status=Status(status), attempt=1
    )
    run.start(trial, study)
    run.finish(kept)
    (error := tmp_path / "error.txt").write_text("ray.exceptions.ActorDiedError")
    callback = _Callback(study, run, lambda of, record: None, Stopping())
    callback.on_trial_error(0, [], SimpleNamespace(config={"trial": trial.model_dump()}, error_file=str(error)))
    assert run.record(trial) == kept
    assert standing(run, trial) == kept, "and is not trained again"


def test_ends_by_the_memory_monitor_are_failures_for_tune() -> None:
    from ray.air.execution._internal import actor_manager
    from ray.exceptions import OutOfMemoryError

    lost_workers.fail_their_trials()
    assert isinstance(OutOfMemoryError("full"), actor_manager.RayActorError)
