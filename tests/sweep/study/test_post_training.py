"""`post_training` of a study: its stages are checked where the study is read, and change nothing of its trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.fit_file.inputs import FitInputs
from sweep.study import InputError, Study, study_file

CORPORA = {"original": {"files": "en.jsonl", "language": "English"}, "additional": {"files": "zh.jsonl"}}
TRAINING = {"sequence_length": 32, "tokens": 512, "global_batch_tokens": 128}
SFT: dict[str, Any] = {"corpora": CORPORA, "training": TRAINING, "grid": {"almr": [0.5], "lr": [1e-3]}}
LAUNCH = {"model": "some/model", "tokens": 4096, "global_batch_tokens": 1024, "sequence_length": 32, "gpus_per_node": 2}


def loaded(folder: Path, **changes: Any) -> Study:
    """`changes` replace sections; None leaves one out."""
    content = {
        "name": "s",
        "base_model": {"embedded": "tiny"},
        "corpora": {"original": {"embedded": "shakespeare"}, "additional": {"embedded": "three-kingdoms"}},
        "training": TRAINING,
        "grid": {"almr": [0.1, 0.5], "lr": [1e-3, 1e-2]},
        "launch": LAUNCH,
        "post_training": {"sft": SFT},
    } | changes
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))
    return study_file.load(path)


def staged(**changes: Any) -> dict[str, Any]:
    return {"post_training": {"sft": SFT | changes}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (staged(corpora={"original": {"files": "a"}}), "s.yaml: post_training.sft.corpora.additional: required"),
        (staged(grid={"almr": [2], "lr": [1e-3]}), "s.yaml: post_training.sft.grid.almr"),
        (staged(keep="none"), "s.yaml: post_training.sft.keep: none leaves no model"),
        (staged(launch=LAUNCH), "s.yaml: post_training: sft.launch: a stage has none"),
        (
            staged(training=TRAINING | {"global_batch_tokens": 96}),
            "s.yaml: post_training.sft.training.global_batch_tokens 96 is not a multiple of nodes x gpus_per_node",
        ),
        ({"post_training": {}}, "s.yaml: post_training: names no stage"),
        ({"launch": None}, "s.yaml: post_training: its stages continue from the launch's model: add launch, or write"),
    ],
)
def test_what_is_wrong_is_told_by_its_field(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as raised:
        loaded(tmp_path, **changes)
    assert expected in str(raised.value)


def test_a_run_keeps_the_stages_with_absolute_paths(tmp_path: Path) -> None:
    study = loaded(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    kept = tmp_path / "elsewhere" / "study.yaml"
    kept.write_text(study_file.dump(study))
    again = study_file.load(kept)
    assert again == study
    stage = study_file.stages_of(again)["sft"]
    assert (stage.name, stage.training.stage) == ("s-sft", "sft")
    assert stage.corpora.by_name["original"].spec.files == (str(tmp_path / "en.jsonl"),)


def test_trials_and_fit_do_not_depend_on_the_stages(tmp_path: Path) -> None:
    without, study = loaded(tmp_path, post_training=None), loaded(tmp_path)
    assert study.fingerprint == without.fingerprint
    assert FitInputs.of_run(study, tmp_path) == FitInputs.of_run(without, tmp_path)
    assert "post_training" not in study_file.dump(without)
