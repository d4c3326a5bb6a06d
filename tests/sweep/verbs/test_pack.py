"""`almr pack` on the study of a launch bundle."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sweep import cli
from sweep.study import Study, study_file
from trainers.packing import token_file
from trainers.packing.pack import LaunchText

Free = namedtuple("Free", "total used free")


@pytest.fixture
def study(local_study: Study, tmp_path: Path) -> Path:
    return written(local_study, tmp_path / "study.yaml")


def written(study: Study, path: Path, **training: Any) -> Path:
    content = study.model_dump(mode="json", by_alias=True)
    content["training"] |= training
    made = Study.model_validate(content | {"grid": {"almr": [0.5], "lr": [1e-3]}})
    path.write_text(study_file.dump(made))
    return path


def almr(*arguments: object, status: int = 0) -> str:
    """The standard output, or with another status the error. Its message is that of `sweep.cli.run_command`."""
    result = CliRunner().invoke(cli.app, ["pack", *map(str, arguments)])
    if status == 0:
        assert result.exit_code == 0, result.output
        return result.stdout
    assert cli.terminal.explain(result.exception).status == status  # type: ignore[arg-type]
    [line] = cli.terminal.explain(result.exception).lines  # type: ignore[arg-type]
    return line


def test_it_packs_once_and_says_what(study: Path, tmp_path: Path) -> None:
    arguments = (study, "--format", "torchtitan", "--out", tmp_path / "data")
    said = almr(*arguments)
    assert "small: packed for torchtitan" in said
    assert "to train on: 2.05k tokens, 64 blocks of 32, at ALMR 0.50: original 32, additional 32" in said
    first = (tmp_path / "data" / "train.bin").stat()
    assert "small: was packed already for torchtitan" in almr(*arguments)
    assert (tmp_path / "data" / "train.bin").stat() == first
    about = json.loads(almr(*arguments, "--json"))
    assert (about["rows"], about["sources"], about["already_packed"]) == (64, {"original": 32, "additional": 32}, True)
    assert about == json.loads((tmp_path / "data" / "blocks.json").read_text()) | {
        "folder": str(tmp_path / "data"),
        "already_packed": True,
    }
    assert np.fromfile(tmp_path / "data" / "train.bin", "<u4").size == about["rows"] * about["sequence_length"]


def test_a_folder_with_anything_else_is_refused(study: Path, local_study: Study, tmp_path: Path) -> None:
    out = tmp_path / "data"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert "holds other files: name a new folder" in almr(study, "--format", "torchtitan", "--out", out, status=2)
    assert (out / "notes.txt").read_text() == "mine"
    shutil.rmtree(out)
    almr(study, "--format", "torchtitan", "--out", out)
    written(local_study, study, tokens=4096)
    refused = almr(study, "--format", "torchtitan", "--out", out, status=2)
    assert "holds another study's text, or its files were changed since: delete it" in refused


def test_the_lr_makes_no_other_text(study: Path, tmp_path: Path) -> None:
    almr(study, "--format", "torchtitan", "--out", tmp_path / "data")
    study.write_text(study.read_text().replace("- 0.001", "- 0.002"))
    assert "was packed already" in almr(study, "--format", "torchtitan", "--out", tmp_path / "data")
    about = json.loads((tmp_path / "data" / "blocks.json").read_text())
    assert about["study_sha256"] == sha256(study.read_bytes()).hexdigest()  # which start.sh compares


def test_text_that_was_changed_is_not_the_text_that_was_packed(local_study: Study, tmp_path: Path) -> None:
    study = written(local_study, tmp_path / "study.yaml")
    almr(study, "--format", "torchtitan", "--out", tmp_path / "data")
    (tmp_path / "additional" / "more.txt").write_text("one more document " * 99)
    refused = almr(study, "--format", "torchtitan", "--out", tmp_path / "data", status=2)
    assert "or its files were changed since" in refused


def test_a_bundle_that_was_moved_is_known_by_its_content(
    local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own text lies at other paths then, in whatever letters; another text is not taken for it."""
    bundle, moved = tmp_path / "启动", tmp_path / "moved"
    (bundle / "held_out").mkdir(parents=True)
    for name in ("original", "additional"):
        (bundle / "held_out" / f"{name}.jsonl").write_text(json.dumps({"text": f"{name} left out " * 20}) + "\n")
    content = local_study.model_dump(mode="json", by_alias=True)
    for corpus in content["corpora"].values():
        corpus["exclude"] = ["held_out/original.jsonl", "held_out/additional.jsonl"]
    written(Study.model_validate(content), bundle / "study.yaml")
    held_out = [part for name in ("original", "additional") for part in ("--held-out", f"{name}=held_out/{name}.jsonl")]
    arguments = ("study.yaml", "--format", "torchtitan", "--out", "data", *held_out)
    monkeypatch.chdir(bundle)
    assert ": packed for torchtitan" in almr(*arguments)
    about, asked = Path("data/blocks.json"), study_file.load("study.yaml")
    of = {name: f"held_out/{name}.jsonl" for name in ("original", "additional")}
    key, earlier = LaunchText(asked, asked.grid_trials[0], "torchtitan", Path("study.yaml"), of).keys
    about.write_text(about.read_text().replace(key, earlier))  # as a version before wrote it
    assert "was packed already" in almr(*arguments)
    about.write_text(about.read_text().replace(earlier, key))
    shutil.move(bundle, moved)
    monkeypatch.chdir(moved)
    assert "was packed already" in almr(*arguments)
    (moved / "held_out" / "original.jsonl").write_text(json.dumps({"text": "another text " * 20}) + "\n")
    assert "or its files were changed since" in almr(*arguments, status=2)


def test_a_missing_corpus_is_named_before_another_is_tokenised(local_study: Study, tmp_path: Path) -> None:
    content = local_study.model_dump(mode="json", by_alias=True)
    content["corpora"]["additional"]["files"] = [str(tmp_path / "gone-*.jsonl")]
    study = written(Study.model_validate(content), tmp_path / "study.yaml")
    refused = almr(study, "--format", "torchtitan", "--out", tmp_path / "data", status=2)
    assert refused.startswith(f"corpora.additional: {tmp_path}/gone-*.jsonl ")
    assert not (tmp_path / "cache" / "corpora").exists()


def test_what_was_interrupted_leaves_nothing_and_is_done_again(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = token_file.write, tmp_path / "place" / "data"

    def stopped(blocks: Any, folder: Path, written: Any) -> None:
        whole(blocks, folder, written)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(token_file, "write", stopped)
        result = CliRunner().invoke(cli.app, ["pack", str(study), "--format", "torchtitan", "--out", str(out)])
    assert result.exit_code == 130
    assert not list(out.parent.iterdir())
    assert "packed for torchtitan" in almr(study, "--format", "torchtitan", "--out", out)


def test_what_does_not_fit_the_disk_is_refused_before_anything_is_read(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").mkdir()
    full = {tmp_path: "give --out", tmp_path / "cache": "set ALMR_CACHE to a folder"}
    for place, other in full.items():
        free = dict.fromkeys(full, 10**9) | {place: 1000}
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: Free(10**9, 0, free[Path(path)]))
        refused = almr(study, "--format", "torchtitan", "--out", tmp_path / "data", status=2)
        assert refused.endswith(f"are needed and 1 kB are free: free some space, or {other} on another disk")
        assert not (tmp_path / "cache" / "corpora").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "native"), "--format native: no trainer that reads packed text: give "),
        (("--format", "torchtitan", "--held-out", "english.jsonl"), "write a name and its files, such as original="),
        (("--format", "torchtitan", "--held-out", "../a=b"), "write a name and its files, such as original="),
        (("--format", "torchtitan", "--held-out", "a=/nowhere/b.jsonl"), "--held-out a: "),
    ],
)
def test_unusable_options_are_refused(study: Path, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    assert message in almr(study, "--out", tmp_path / "data", *options, status=2)
    assert not (tmp_path / "data").exists()


def test_a_study_of_several_trials_is_refused(local_study: Study, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(study_file.dump(local_study))
    refused = almr(tmp_path / "study.yaml", "--format", "torchtitan", "--out", tmp_path / "data", status=2)
    assert "study small: its grid has 6 trials, but a launch is one" in refused
