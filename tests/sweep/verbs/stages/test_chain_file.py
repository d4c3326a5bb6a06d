"""Chain files: what is wrong with one is told by file and field, and its stages are plain studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sweep import cli
from sweep.study import InputError
from sweep.verbs.stages import chain_file

TRAINING = {"sequence_length": 32, "tokens": 512, "global_batch_tokens": 128}
CORPORA = {"original": {"files": "en.jsonl", "language": "English"}, "additional": {"files": "zh.jsonl"}}
SFT: dict[str, Any] = {"corpora": CORPORA, "training": TRAINING, "grid": {"almr": [0.5], "lr": [1e-3]}}


def written(folder: Path, sft: dict[str, Any] | None = None, **changes: Any) -> Path:
    content = {"name": "chat", "model": {"launch": "demo"}, "post_training": {"sft": SFT | (sft or {})}} | changes
    path = folder / "chat.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("sft", "changes", "expected"),
    [
        ({"grid": {"almr": [0.5], "lr": [-1]}}, {}, "chat.yaml: post_training.sft.grid.lr"),
        ({"corpora": {"original": CORPORA["original"]}}, {}, "chat.yaml: post_training.sft.corpora.additional"),
        ({"name": "mine"}, {}, "post_training: sft.name: a stage has none, the chain sets it: remove it"),
        ({"keep": "none"}, {}, "post_training.sft.keep: none leaves no model for what follows: write best"),
        ({"training": TRAINING | {"stage": "cpt"}}, {}, "post_training.sft.training.stage: 'cpt': the section is sft"),
        ({}, {"model": {}}, "chat.yaml: model: give exactly one of launch, pretrained"),
        ({}, {"post_training": {}}, "post_training: names no stage: give sft or dpo, or both"),
        ({}, {"post_training": {"rlhf": SFT}}, "post_training.rlhf"),
        ({}, {"name": "a/b"}, "chat.yaml: name"),
        (
            {},
            {"model": {"pretrained": "model"}, "benchmarks": {"suite": "embedded"}},
            "benchmarks.suite: embedded asks about the held-out text of a launch's run: name model.launch",
        ),
    ],
)
def test_what_is_wrong_is_told_by_its_field(
    tmp_path: Path, sft: dict[str, Any], changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InputError) as raised:
        chain_file.load(written(tmp_path, sft, **changes))
    assert expected in str(raised.value)


def test_a_stage_is_a_study_named_after_the_chain(tmp_path: Path) -> None:
    [stage] = chain_file.load(written(tmp_path)).stages
    study = stage.study
    assert (study.name, study.training.stage, study.keep) == ("chat-sft", "sft", "best")
    assert study.corpora.by_name["original"].spec.files == (str(tmp_path / "en.jsonl"),)


def test_a_study_is_no_chain_and_the_shipped_chain_is_one(tmp_path: Path) -> None:
    assert not chain_file.is_chain("demo")
    assert chain_file.is_chain("demo-chat")
    assert chain_file.is_chain(written(tmp_path))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "chat.yaml"], "model.launch: demo: no such run, here or in runs/; start one: almr run STUDY"),
        (["plan", "chat.yaml"], "model.launch: demo: no such run, here or in runs/"),
        (["run", "chat.yaml", "--also", "0.5:1e-3"], "--also: a chain of stages has none"),
        (["run", "chat.yaml", "--replay", "demo"], "--replay: a chain of stages has none"),
        (["pack", "chat.yaml", "--format", "native", "--out", "x"], "chat.yaml: is a chain of stages, and no study"),
    ],
)
def test_verbs_say_in_one_line_what_a_chain_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path)
    result = CliRunner().invoke(cli.app, words)
    assert isinstance(result.exception, InputError)
    assert expected in str(result.exception)
    assert "\n" not in str(result.exception)
