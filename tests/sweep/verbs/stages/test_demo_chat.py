"""The shipped chain, in full: the demo's launch, fine-tuned and aligned, with its answers and its table of gains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from sweep import cli


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.ray
def test_the_demo_s_chain_answers_in_the_language_of_the_question_and_stops_more_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for study in ("demo", "demo-chat"):
        assert CliRunner().invoke(cli.app, ["run", study]).exit_code == 0
    home = Path("runs/demo-chat")
    record = json.loads((home / "chain.json").read_text())
    counts = json.loads((home / "answers.json").read_text())["counts"]
    assert [stage["stage"] for stage in record["stages"]] == ["sft", "dpo"]
    for stage in record["stages"]:
        assert AutoModelForCausalLM.from_pretrained(stage["model"])
        assert all(stage["loss"][one] < stage["base_loss"][one] for one in ("original", "additional"))
    for tuned in ("sft", "dpo"):
        for name, one in counts[tuned].items():
            assert one["in_language"] >= 0.9 * one["asked"]
            assert one["stopped"] > counts["cpt"][name]["stopped"]
    assert list((home / "gains").glob("gains.*"))
