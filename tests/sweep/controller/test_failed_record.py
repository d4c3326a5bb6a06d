"""The record of a trial that failed on every retry, which the controller writes."""

from __future__ import annotations

import copy
import pickle
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import torch
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError
from samples import make_study

from sweep.controller import lost_workers
from sweep.controller.remote_node import RemoteNode
from sweep.controller.stopping import Stopping
from sweep.controller.trials import _Callback
from sweep.store.run import Run
from sweep.study import InputError, Record, Score, Status, Study, Trial
from sweep.study.record import SCORING
from sweep.trials import failure
from sweep.worker.run_trial import standing
from sweep.worker.watch import ending


def ended(trial: Trial, error_file: Path, had: str | None = None) -> SimpleNamespace:
    """Tune's own object of a trial that failed on every retry."""
    return SimpleNamespace(config={"trial": trial.model_dump(), "had": had}, error_file=str(error_file))


@pytest.mark.parametrize("trainer", ["native", "megatron"])
def test_it_names_the_trainer_that_was_asked(tmp_path: Path, trainer: str) -> None:
    study, run, trial = make_study(trainer=trainer), Run(tmp_path / "run"), Trial(almr=0.5, lr=1e-3, seed=0)
    run.start(trial, study)
    (error := tmp_path / "error.txt").write_text("Traceback\nsweep.external.trial.job.TrialError: out of memory\n")
    told: list[Record | None] = []
    callback = _Callback(study, run, lambda of, record: told.append(record), Stopping())
    callback.on_trial_error(0, [], ended(trial, error))
    record = run.record(trial)
    assert record
    assert told == [record]
    assert (record.status, record.reason, record.trainer.name) == ("failed", "out of memory", trainer)


def begun(folder: Path, log: str, attempts: int = 1) -> failure.TrialLog:
    """A trial of a new run, its log, and how many of its attempts have begun."""
    run, trial = Run(folder / "run"), Trial(almr=0.5, lr=1e-3, seed=0)
    for _ in range(attempts):
        run.start(trial, make_study())
    run.log(trial).write_text(log)
    return failure.TrialLog(run, trial)


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
        (DIED + "Worker exits with an exit code 4.", "", "its process ended itself with status 4, as at SIGTERM"),
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
    found = failure.reason(told, begun(tmp_path, f"--- attempt 1\n{log}\n"))
    assert found.startswith(words)
    assert len(found.splitlines()) == 1


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
    assert failure.reason(told, begun(tmp_path, f"--- attempt 2\n{log}\n", attempts=2)) == words


def test_the_end_of_an_earlier_attempt_is_not_that_of_one_whose_worker_was_lost_before_its_log_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure, "WATCHER_SECONDS", 0.01)
    (told := tmp_path / "error.txt").write_text(FIRST + DIED + SECOND + DIED)
    log = begun(tmp_path, f"--- attempt 1\n\n{ending.ENDED}the trial hung\n", attempts=2)
    assert failure.reason(told, log).startswith("the worker process ended without a message")


class OddError(Exception):
    """Neither Tune's copy nor pickle's can be made: they give its class the one argument that it remembers."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")


CUDA = "CUDA error: device-side assert triggered\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), "torch.OutOfMemoryError: CUDA out of"),
        (RuntimeError(CUDA), "RuntimeError: CUDA error: device-side assert triggered For debugging consider"),
        (ValueError("a\nworker ended: b\n--- attempt 7\n"), "ValueError: a worker ended: b --- attempt 7"),
        (ValueError("損失 \udcff is\x1b[31m no number"), "ValueError: 損失 is no number"),
        (OddError(429, "slow down"), f"{OddError.__module__}.OddError: 429: slow down"),
        (ImportError("\nIt needs numba\n"), "the worker cannot import its code: It needs numba (ImportError): install"),
        (InputError("no corpus"), "no corpus"),
        (ValueError(), "ValueError"),
        (SystemExit("no GPU here"), "it called sys.exit('no GPU here')"),
        (SystemExit(), "it called sys.exit()"),
        (SyntaxError("invalid syntax", ("odd.py", 3, 1, "def (", 3, 2)), "the worker cannot import its code: invalid"),
    ],
)
def test_what_an_attempt_raised_is_its_reason_whole_whatever_ended_earlier_ones(
    tmp_path: Path, error: BaseException, words: str
) -> None:
    crossing = copy.copy(failure.RaisedError.of(error))  # as Tune copies it
    text = "".join(traceback.format_exception(crossing))
    of_ray = RayTaskError("train", text, crossing, proctitle="ray::ImplicitFunc.train", pid=1, ip="10.0.0.7")
    told = str(pickle.loads(pickle.dumps(of_ray)))
    assert told.isascii(), "Tune writes it in the encoding of the locale"
    (file := tmp_path / "error.txt").write_text(f"{FIRST}{DIED}{SECOND}{told}\n")
    found = failure.reason(file, begun(tmp_path, f"--- attempt 1\n\n{ending.ENDED}the trial hung\n"))
    assert found.startswith(words)
    assert found.isprintable()


def finished(folder: Path, study: Study, status: Status = Status.COMPLETE) -> tuple[Run, Trial, Record]:
    """A run with a trial that has a record."""
    run, trial = Run(folder), Trial(almr=0.5, lr=1e-3, seed=0)
    run.freeze(study)
    record = Record(**trial.model_dump(), trial_id=trial.id, fingerprint=study.fingerprint, status=status, attempt=1)
    run.start(trial, study)
    run.finish(record)
    return run, trial, record


def fail(study: Study, run: Run, trial: Trial, folder: Path, had: str | None) -> None:
    """As Tune tells of a trial whose worker was lost on every retry."""
    (error := folder / "error.txt").write_text("ray.exceptions.ActorDiedError")
    callback = _Callback(study, run, lambda of, record: None, Stopping())
    callback.on_trial_error(0, [], ended(trial, error, had))


SCORED: dict[str, Any] = {"suite": "embedded", "when": "finalists"}


@pytest.mark.parametrize("benchmarks", [None, SCORED])
@pytest.mark.parametrize("status", ["complete", "diverged"])
def test_a_result_stands_although_its_worker_ended_before_tune_knew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, benchmarks: dict[str, Any] | None
) -> None:
    monkeypatch.setattr(failure, "WATCHER_SECONDS", 0.01)
    study = make_study(benchmarks=benchmarks)
    run, trial, kept = finished(tmp_path / "run", study, Status(status))
    fail(study, run, trial, tmp_path, None)
    assert run.record(trial) == kept, "and its scoring, which was not begun, has not failed"
    assert standing(run, trial) == kept, "and is not trained again"


def test_what_was_given_to_be_scored_does_not_stand_until_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure, "WATCHER_SECONDS", 0.01)
    study = make_study(benchmarks=SCORED)
    run, trial, kept = finished(tmp_path / "run", study)
    had = run.record_sha256(trial)
    assert standing(run, trial, had) is None
    run.finish(kept.model_copy(update={"scores": {"cloze_original": Score(value=0.5)}}))
    scored = run.record(trial)
    assert standing(run, trial, had) == scored, "not scored twice"
    fail(study, run, trial, tmp_path, had)
    assert run.record(trial) == scored
    run.finish(kept)
    again = run.trial_folder(trial).with_name(f".again-{trial.id}")
    (again / "checkpoint").mkdir(parents=True)  # as a killed worker leaves it
    fail(study, run, trial, tmp_path, had)
    lost = run.record(trial)
    assert lost
    assert lost.score_failures.keys() == {SCORING}
    assert not again.exists(), "nobody goes on with it: a scoring that failed is not tried again"


def test_ends_by_the_memory_monitor_are_failures_for_tune() -> None:
    from ray.air.execution._internal import actor_manager

    lost_workers.fail_their_trials()
    assert isinstance(OutOfMemoryError("full"), actor_manager.RayActorError)


@pytest.mark.parametrize("end", [OutOfMemoryError("the node was running low on memory"), ActorDiedError()])
def test_a_node_whose_process_ray_has_killed_counts_as_stopped(monkeypatch: pytest.MonkeyPatch, end: Exception) -> None:
    def ended(*_: object, **__: object) -> None:
        raise end

    killed: list[object] = []
    monkeypatch.setattr(ray, "get", ended)
    monkeypatch.setattr(ray, "kill", killed.append)
    node = RemoteNode.__new__(RemoteNode)
    node.node, node.actor = 1, SimpleNamespace(stop=SimpleNamespace(remote=lambda: None))
    node.stop()
    assert killed == [node.actor], "and the other nodes are stopped too"
