"""Trials that are killed at chosen steps and go on from their checkpoints."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from sweep.study import Record, Study, Trial
from sweep.study.sections.resources import Execution
from trainers import prepare
from trainers.loop import checkpoint
from trainers.loop.checkpoint import Checkpoints
from trainers.trials import cpt

TRIAL = Trial(almr=0.3, lr=1e-2, seed=0)
STEPS, LOG_EVERY = 16, 5


class KilledError(BaseException):
    """What ends a process at once."""


def longer(study: Study) -> Study:
    training = study.training.model_copy(update={"tokens": STEPS * 256, "log_every": LOG_EVERY})
    return study.model_copy(update={"training": training, "execution": Execution(checkpoint_minutes=1e9)})


def run(study: Study, folder: Path) -> Record:
    folder.mkdir(exist_ok=True)
    record = cpt.run_trial(study, TRIAL, prepare.prepare(study), folder)
    assert record
    return record


def killed(study: Study, folder: Path, first: int, saved: Collection[int], at: int) -> None:
    """A trial whose first step is number `first`, with checkpoints after the steps `saved`, that is killed after one.

    At the last step of a trial it is not asked whether a checkpoint is due.
    """
    steps = iter(range(first, STEPS))

    def due(_: Any) -> bool:
        step = next(steps)
        if step == at:
            raise KilledError
        return step in saved

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "due", due)
        with pytest.raises(KilledError):
            run(study, folder)


def logged(folder: Path) -> list[dict[str, Any]]:
    """The lines of the log, which are JSON each, without what takes time."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_a_trial_that_is_killed_twice_has_the_losses_and_the_log_of_one_that_was_not(
    local_study: Study, tmp_path: Path
) -> None:
    study, folder = longer(local_study), tmp_path / "killed"
    whole = run(study, tmp_path / "whole")
    killed(study, folder, first=1, saved=[7], at=12)  # after step 10 was logged
    killed(study, folder, first=8, saved=[8], at=9)  # before anything was logged
    record = run(study, folder)
    assert record.provenance["execution"]["gone_on_from_steps"] == [7, 8]
    assert (record.loss, record.bits_per_byte) == (whole.loss, whole.bits_per_byte)
    assert logged(folder) == logged(tmp_path / "whole")


def test_a_log_that_a_loss_of_power_cut_gets_no_zeros(local_study: Study, tmp_path: Path) -> None:
    study, folder = longer(local_study), tmp_path / "cut"
    killed(study, folder, first=1, saved=[7], at=8)
    (folder / "metrics.jsonl").write_bytes(b"")
    run(study, folder)
    assert [line["step"] for line in logged(folder)] == [10, 15, 16, 16]


@pytest.mark.parametrize("content", [b"", b"\0" * 200, b'{"identity": {"al'])
def test_a_checkpoint_that_a_loss_of_power_tore_is_none(local_study: Study, tmp_path: Path, content: bytes) -> None:
    study, folder = longer(local_study), tmp_path / "torn"
    killed(study, folder, first=1, saved=[3], at=4)
    (folder / "checkpoint" / "step-3" / "state.json").write_bytes(content)
    record = run(study, folder)
    assert record.provenance["execution"]["gone_on_from_steps"] == []
    assert logged(folder)[-1]["step"] == STEPS


def test_a_trial_that_is_killed_while_it_deletes_its_checkpoint_begins_anew(
    local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint was without tensors and had its state: each later attempt failed."""
    study, folder = longer(local_study), tmp_path / "deleted"
    killed(study, folder, first=1, saved=[3], at=4)

    def cut_short(path: Path, **_: Any) -> None:
        (path / "step-3" / ".metadata").unlink()
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.shutil, "rmtree", cut_short)
        with pytest.raises(KilledError):
            run(study, folder)
    assert run(study, folder).provenance["execution"]["gone_on_from_steps"] == []


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(
    local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    sync, rename = os.fsync, Path.rename

    def noted(file: int) -> None:
        sync(file)
        synced.add(os.fstat(file).st_ino)

    def renamed(path: Path, to: Path) -> Path:
        if path.name.startswith(".step-"):
            assert [file.name for file in path.rglob("*") if file.stat().st_ino not in synced] == []
            synced.add(-1)
        return rename(path, to)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "rename", renamed)
    killed(longer(local_study), tmp_path / "trial", first=1, saved=[1], at=2)
    assert -1 in synced
