"""Saved models of a run: the best stay, on every file system."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sweep.study import Status, Study, Trial
from trainers import prepare
from trainers.loop import saved_models
from trainers.trials import cpt
from trainers.workers.group import ALONE


class Weights:
    """Stands for a model and for its tokenizer."""

    def save_pretrained(self, folder: Path) -> None:
        (folder / "saved").touch()


def save(trials: Path, name: str, objective: float | None, most: int | None = 1) -> bool:
    (trials / name).mkdir(parents=True, exist_ok=True)
    return saved_models.save_if_best(Weights(), Weights(), trials / name, objective, most, ALONE)


def names(trials: Path) -> set[str]:
    return {path.parent.name for path in trials.glob("*/model")}


def without_locks(code: int) -> Any:
    def flock(file: Any, how: int) -> None:
        raise OSError(code, os.strerror(code))

    return flock


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO])
def test_a_file_system_without_locks_keeps_no_trial_from_its_record(
    local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    study = local_study.model_copy(update={"keep": "best"})
    ingredients, folder = prepare.prepare(study), tmp_path / "trials" / "one"
    folder.mkdir(parents=True)
    monkeypatch.setattr(fcntl, "flock", without_locks(code))
    with caplog.at_level(logging.WARNING):
        record = cpt.run_trial(study, Trial(almr=0.5, lr=1e-2, seed=0), ingredients, folder)
    assert record
    assert record.status is Status.COMPLETE
    assert (folder / "model" / "config.json").is_file()
    assert f"saving the model without a lock: the file system of {tmp_path}" in caplog.text


@pytest.mark.parametrize("locks", [True, False])
def test_only_the_best_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: bool) -> None:
    if not locks:
        monkeypatch.setattr(fcntl, "flock", without_locks(errno.ENOLCK))
    objectives = {"a": 3.0, "b": None, "c": 2.0, "d": 4.0, "e": 1.0}
    saved = {name for name, value in objectives.items() if save(tmp_path, name, value, most=2)}
    assert saved == {"a", "b", "c", "e"}
    assert names(tmp_path) == {"c", "e"}


def test_a_model_that_another_trial_deletes_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without locks two trials may delete at once."""
    monkeypatch.setattr(fcntl, "flock", without_locks(errno.ENOLCK))
    for name, objective in (("a", 3.0), ("b", 2.0)):
        save(tmp_path, name, objective, None)
    read = saved_models.read_object

    def deleting(note: Path) -> dict[str, Any] | None:
        if note.parent.name == "b":
            shutil.rmtree(note.parent / "model", ignore_errors=True)
            note.unlink()
        return read(note)

    monkeypatch.setattr(saved_models, "read_object", deleting)
    assert save(tmp_path, "c", 4.0, 2)
    monkeypatch.undo()
    assert json.loads((tmp_path / "c" / "kept.json").read_text()) == {"objective": 4.0}


@pytest.mark.parametrize("note", ["", "{cut", "[]", "{}", "NaN", '{"objective": "x"}', "[" * 100_000])
def test_a_damaged_note_of_another_trial_counts_as_the_worst(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, note: str
) -> None:
    for name, objective in (("a", 1.0), ("b", 2.0)):
        save(tmp_path, name, objective, None)
    (tmp_path / "a" / "kept.json").write_text(note)
    assert save(tmp_path, "c", 3.0, 2)
    assert names(tmp_path) == {"b", "c"}
    assert (f"{tmp_path / 'a' / 'kept.json'} is unreadable" in caplog.text) == (
        "objective" not in note and note != "{}"
    )


def test_a_lock_that_another_trial_holds_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_models, "LOCK_SECONDS", 0.01)
    with (tmp_path / ".kept.lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = threading.Thread(target=save, args=(tmp_path, "a", 1.0))
        waiting.start()
        time.sleep(0.1)
        assert names(tmp_path) == set()
        fcntl.flock(other, fcntl.LOCK_UN)
        waiting.join(timeout=10)
    assert names(tmp_path) == {"a"}
