"""An object store that fails, refuses or lists late: what a run waits for, what it says, and what it keeps."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bucket
import fsspec
import pytest
from samples import make_study

from sweep.controller import stopping
from sweep.controller.stopping import Stopping
from sweep.controller.trials import _Callback
from sweep.store import store_errors
from sweep.store.run import Run
from sweep.store.store_errors import StoreError
from sweep.study import Proposed, Record, Study, Trial
from sweep.worker.run_trial import at_worker, standing


class Failing(bucket.Bucket):
    """`faults`: what the next calls meet that write, `unread`: those that read. `unlisted`: names of files that are not
    listed yet.
    """

    protocol = "failing"
    faults: list[Exception] = []  # noqa: RUF012 (of all instances)
    unread: list[Exception] = []  # noqa: RUF012
    unlisted: set[str] = set()  # noqa: RUF012
    cachable = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        if self.faults:
            raise self.faults.pop(0)
        super().pipe_file(path, value, mode, **options)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        if self.unread:
            raise self.unread.pop(0)
        return super().cat_file(path, start, end, **options)

    def find(self, path: str, detail: bool = False, **options: Any) -> Any:
        if self.unread:
            raise self.unread.pop(0)
        found = super().find(path, detail=True)
        listed = {name: info for name, info in found.items() if Path(name).name not in self.unlisted}
        return listed if detail else list(listed)


def record(study: Study, trial: Trial) -> Record:
    of = {"trial_id": trial.id, "fingerprint": study.fingerprint, "status": "complete", "attempt": 1}
    return Record.model_validate(trial.model_dump() | of | {"loss": {"original": 3.0, "additional": 5.0}})


@pytest.fixture
def begun(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Run, Study, Trial]]:
    monkeypatch.setattr(store_errors, "FIRST_SECONDS", 0.01)
    fsspec.register_implementation("failing", Failing, clobber=True)
    run, study = Run(f"failing://{tmp_path}/kept/small"), make_study()
    run.freeze(study)
    yield run, study, study.grid_trials[0]
    Failing.faults, Failing.unread, Failing.unlisted = [], [], set()


def test_a_run_waits_for_a_store_that_fails_and_says_so_once(
    begun: tuple[Run, Study, Trial], caplog: pytest.LogCaptureFixture
) -> None:
    run, study, trial = begun
    Failing.faults = [OSError(121, "internal error"), OSError(16, "Please reduce your request rate")]
    with caplog.at_level(logging.WARNING), run.patiently():
        run.start(trial, study)
    assert not Failing.faults
    [line] = caplog.messages
    assert line == f"{run.address}: the store fails ([Errno 121] internal error): waiting for it, up to 10 min"


def test_a_worker_waits_also_before_its_trial_begins(begun: tuple[Run, Study, Trial]) -> None:
    """Else the first trial that began in an outage ended the sweep."""
    run, study, trial = begun
    Failing.unread = [OSError(121, "internal error")] * 3
    with at_worker(run.address, trial) as mirrored:
        assert mirrored.study() == study
    assert not Failing.unread


def test_a_command_that_does_not_run_trials_does_not_wait(begun: tuple[Run, Study, Trial]) -> None:
    run, study, trial = begun
    Failing.faults = [OSError(121, "internal error")]
    with pytest.raises(StoreError, match=r"failed \(\[Errno 121\] internal error\): run the same command again"):
        run.start(trial, study)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError("Forbidden"), "the store refuses access (Forbidden): check its credentials and rights"),
        (FileNotFoundError("no bucket"), "not in the store (no bucket): make the bucket, or correct the address"),
        (type("NoCredentialsError", (Exception,), {})("none found"), "no credentials for the store (none found): set"),
    ],
)
def test_what_waiting_does_not_mend_is_said_at_once(
    begun: tuple[Run, Study, Trial], error: Exception, says: str
) -> None:
    run, study, trial = begun
    Failing.faults = [error]
    with pytest.raises(StoreError) as raised, run.patiently():
        run.start(trial, study)
    assert f"{run.address}: {says}" in str(raised.value)
    result = stopping.of_worker(raised.value, Path(run.address))
    assert result
    assert str(stopping.told(result)) == str(raised.value)  # the sweep ends with the worker's line


def test_a_file_that_is_listed_late_is_kept_and_a_record_is_found_by_its_name(
    begun: tuple[Run, Study, Trial], tmp_path: Path
) -> None:
    run, study, trial = begun
    run.start(trial, study)
    run.finish(record(study, trial))
    Failing.unlisted = {"record.json"}
    run.refresh()
    assert run.record(trial) == record(study, trial)
    other = Run(run.address, tmp_path / "elsewhere")
    with other.locked():
        assert other.record(trial) == record(study, trial)


def test_a_worker_finds_what_is_listed_late_of_its_trial(begun: tuple[Run, Study, Trial]) -> None:
    run, study, trial = begun
    Failing.unlisted = {"trial.json", "record.json"}
    run.write_request(trial, study, Proposed(index=3, why="winner"))
    with at_worker(run.address, trial) as first:
        assert first.start(trial, study) == 1
        assert first.proposed(trial) == Proposed(index=3, why="winner"), "a search would forget its trial"
        first.finish(record(study, trial))
    with at_worker(run.address, trial) as second:
        assert standing(second, trial) == record(study, trial), "it would be trained again"
        assert second.attempts(trial) == 1


def test_a_driver_writes_no_failure_over_a_record_that_is_listed_late(
    begun: tuple[Run, Study, Trial], tmp_path: Path
) -> None:
    run, study, trial = begun
    Failing.unlisted = {"record.json"}
    with at_worker(run.address, trial) as worker:
        worker.start(trial, study)
        worker.finish(record(study, trial))
    (error := tmp_path / "error.txt").write_text("MemoryError\n")  # of an attempt that was not wanted any more
    ended = SimpleNamespace(config={"trial": trial.model_dump(), "had": None}, error_file=str(error))
    callback = _Callback(study, run, lambda of, record: None, Stopping())
    callback.on_trial_error(0, [], ended)
    callback.stopping.raise_noted()
    assert run.record(trial) == record(study, trial)
