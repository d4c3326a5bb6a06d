"""Nothing that a user or another process hands us is unpickled: each door, with a pickle that would run code."""

from __future__ import annotations

import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from malicious_pickles import Bomb, pickled
from torch.distributed.checkpoint.state_dict_saver import save

from sweep.study import Study
from trainers.loop import plain_reader
from trainers.packing.to_huggingface import Reader

SAVED: dict[str, Any] = {"model": {"a": torch.arange(3.0)}, "optimizer": {"betas": (0.9, 0.95), "lr": 1e-3}}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(SAVED, checkpoint_id=tmp_path / "step-1", no_dist=True)
    return tmp_path / "step-1"


def read(folder: Path) -> dict[str, Any]:
    empty: dict[str, Any] = {"model": {"a": torch.zeros(3)}, "optimizer": {"betas": (0.0, 0.0), "lr": 0.0}}
    plain_reader.read(empty, folder, no_dist=True)
    return empty


def test_a_checkpoint_is_read_whole(saved: Path) -> None:
    found = read(saved)
    assert torch.equal(found["model"]["a"], SAVED["model"]["a"])
    assert found["optimizer"] == SAVED["optimizer"]


def test_the_list_of_tensors_of_a_checkpoint_runs_no_code(saved: Path, tmp_path: Path) -> None:
    (saved / ".metadata").write_bytes(pickled(tmp_path / "ran"))
    with pytest.raises(ValueError, match=re.escape(f"{saved} is not what almr writes (it names posix.mkdir)")):
        read(saved)
    Reader(saved).read_metadata()  # of Megatron's checkpoints: what is not listed becomes an empty class
    assert not (tmp_path / "ran").exists()


def test_a_value_of_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    save(
        SAVED | {"optimizer": {"betas": Bomb(tmp_path / "ran"), "lr": 1.0}}, checkpoint_id=tmp_path / "c", no_dist=True
    )
    with pytest.raises(ValueError, match=r"c is not what almr writes \(Weights only load failed"):
        read(tmp_path / "c")
    assert not (tmp_path / "ran").exists()


def test_weights_that_would_run_code_are_refused_in_a_line(
    tmp_path: Path, small_model: Path, local_study: Study
) -> None:
    from sweep.preflight import inputs

    folder = tmp_path / "base"
    shutil.copytree(small_model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save({"model.embed_tokens.weight": Bomb(tmp_path / "ran")}, folder / "pytorch_model.bin")
    study = local_study.model_copy(
        update={"base_model": local_study.base_model.model_copy(update={"pretrained": str(folder)})}
    )
    found = [result for result in inputs.model(study) if not result.ok]
    assert len(found) == 1
    assert "pytorch_model.bin is damaged or cut off, or holds more than tensors" in found[0].detail
    assert not (tmp_path / "ran").exists()


def test_a_random_state_runs_no_code(tmp_path: Path) -> None:
    torch.save({"cpu": Bomb(tmp_path / "ran")}, tmp_path / "random-0.pt")
    with pytest.raises(pickle.UnpicklingError, match="Weights only"):
        plain_reader.random_state(tmp_path / "random-0.pt")
    assert not (tmp_path / "ran").exists()
