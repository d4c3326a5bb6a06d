"""Secrets do not come to stand in what a run writes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import bowl_run
import pytest
from one_ray import almr
from samples import study_content

from sweep.store.run import Run
from sweep.study import InputError, study_file
from sweep.study.errors import without_secrets
from sweep.study.study_file import dump
from sweep.verbs.results import fitting
from sweep.worker.run_trial import _logged

PLANTED = {
    "HF_TOKEN": "hf_plantedplanted",
    "AWS_SECRET_ACCESS_KEY": "awsplantedplanted",
    "WANDB_API_KEY": "wandbplantedplanted",
    "MLFLOW_TRACKING_PASSWORD": "mlflowplanted",
    "AZURE_STORAGE_ACCOUNT_KEY": "azureplanted",
}
ADDRESSES = {
    "corpora": {
        "original": {"files": "https://me:planted-word@host/a.jsonl"},
        "additional": {"embedded": "three-kingdoms"},
    },
    "tracking": {"mlflow": "https://me:planted-word@host/"},
    "base_model": {"pretrained": "https://me:planted-word@host/model"},
    "trainer": {"name": "axolotl", "variables": {"INDEX": "https://me:planted-word@host/simple"}},
}


@pytest.mark.parametrize("field", ADDRESSES)
def test_a_study_with_a_password_in_an_address_is_refused_without_showing_it(field: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(study_content(**{field: ADDRESSES[field]})))
    with pytest.raises(InputError, match="holds a password, and a study is kept in its run") as refused:
        study_file.load(path)
    assert field in str(refused.value)
    assert "planted-word" not in str(refused.value)


def test_what_a_trial_raises_is_logged_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", PLANTED["HF_TOKEN"])
    address = "https://me:planted-word@cdn.host/file?X-Amz-Signature=planted&Expires=5&token=planted"
    with pytest.raises(OSError, match="planted"), _logged(tmp_path / "train.log", 1):
        raise OSError(f"{address} answered 403 to Bearer {PLANTED['HF_TOKEN']}")
    log = (tmp_path / "train.log").read_text()
    assert "OSError: https://...@cdn.host/file?X-Amz-Signature=...&Expires=5&token=... answered 403" in log
    assert "Bearer [HF_TOKEN]" in log
    assert without_secrets("https://host/a?b=c, at 12:30@home") == "https://host/a?b=c, at 12:30@home"


def test_no_file_of_a_run_holds_a_secret_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(fitting.plots, "write_figures", lambda *_: [])  # pixels, and seconds
    (tmp_path / ".env").write_text("KEY=dotplanted")
    monkeypatch.chdir(tmp_path)
    bowl_run.write_fitted(tmp_path / "run")
    run = Run(tmp_path / "run")
    run.stage_code()
    (run.folder / "study.yaml").write_text(dump(bowl_run.study()))
    almr(tmp_path, "report", "run", status=(0, 3))
    almr(tmp_path, "export", "run", "--accept-risk", "a test", status=(0, 3))
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    assert {"report.html", "provenance.json", "evidence.json", "trials.csv"} <= {path.name for path in files}
    assert not [path for path in files if "code" not in path.parts and b"planted" in path.read_bytes()]
    assert not [name for name in os.listdir(run.files.code) if name.startswith(".")]
