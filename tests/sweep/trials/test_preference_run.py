"""A sweep of stage dpo through the command: planned, prepared, run on Ray, fitted."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml
from one_ray import almr
from preference_pairs import dpo_content

pytestmark = [pytest.mark.heavy, pytest.mark.ray]


def test_a_sweep_over_lr_and_share_has_a_surface_and_a_winner_or_a_refusal(
    tmp_path: Path, small_model: Path, cache: Path, shared_ray: None
) -> None:
    content = dpo_content(tmp_path, small_model, steps=5)
    content["grid"] = {"almr": [0.2, 0.5, 0.8], "lr": [1e-4, 1e-3, 1e-2]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    planned = almr(tmp_path, "plan", "study.yaml")
    assert "each trial: 5 steps x 4 pairs (of two rows; at most 1,024 tokens) = at most 5,120 tokens" in planned
    assert "(pairs: 32 to train on, 8 held out)" in almr(tmp_path, "prepare", "study.yaml")
    almr(tmp_path, "run", "study.yaml", status=(0, 3))
    run = tmp_path / "runs" / "small"
    records = [json.loads(path.read_text()) for path in run.glob("trials/*/record.json")]
    assert len(records) == 9
    for record in records:
        assert record["base_loss"] == {"original": math.log(2), "additional": math.log(2)}
        assert abs(record["almr_achieved"] - record["almr"]) * record["tokens"] <= 128
        assert {*record["provenance"]["accuracy"]} == {"original", "additional"}
    best = min(records, key=lambda record: record["loss"]["original"])
    assert best["loss"]["original"] < 0.2
    assert json.loads((run / "fit.json").read_text())["winner"]["lr"] > 1e-4
    assert "nats" in almr(tmp_path, "status", "runs/small", status=(0, 3)) or (run / "report.html").is_file()
