"""A sweep of stage sft through the command: prepared, run on Ray, also by a group of two workers, and fitted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from conversations import sft_content
from one_ray import almr

pytestmark = [pytest.mark.heavy, pytest.mark.ray]


def ran(folder: Path, content: dict[str, Any]) -> list[dict[str, Any]]:
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    almr(folder, "run", "study.yaml", status=(0, 3))
    records = (folder / "runs" / content["name"]).glob("trials/*/record.json")
    return [json.loads(path.read_text()) for path in records]


def test_a_sweep_of_conversations_has_a_surface_and_a_winner_or_a_refusal(
    tmp_path: Path, small_model: Path, cache: Path, shared_ray: None
) -> None:
    content = sft_content(tmp_path, small_model)
    content["grid"] = {"almr": [0.25, 0.5, 0.75], "lr": [1e-3, 3e-3, 1e-2]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    prepared = almr(tmp_path, "prepare", "study.yaml")
    assert "documents: by the chat template chatml" in prepared
    assert "32 conversations, " in prepared
    records = ran(tmp_path, content)
    assert len(records) == 9
    assert all(record["almr_achieved"] == record["almr"] for record in records)
    assert all(record["loss"]["original"] < record["base_loss"]["original"] for record in records)
    assert json.loads((tmp_path / "runs" / "small" / "fit.json").read_text())["winner"]["lr"] >= 1e-3


def test_two_workers_train_on_conversations_as_one_does(
    tmp_path: Path, small_model: Path, cache: Path, shared_ray: None
) -> None:
    content = sft_content(tmp_path, small_model) | {"grid": {"almr": [0.5], "lr": [3e-3]}}
    [alone] = ran(tmp_path, content)
    [together] = ran(tmp_path, content | {"name": "group", "resources": {"processes": 2}})
    for name in ("base_loss", "loss"):
        assert together[name] == pytest.approx(alone[name], abs=1e-4)
