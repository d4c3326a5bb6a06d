"""The demo in small: the real base model, real text, real Ray, from the study file to the launch bundle."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from one_ray import almr

from sweep.store.run import Run
from sweep.study import study_file
from sweep.study.files.cache import size

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.ray]
ALMR = str(Path(sys.executable).with_name("almr"))
FILES = {
    *("study.yaml", "provenance.json", "ingredients.json", "code", "trials", "trials.csv", "fit.json", "figures"),
    *("report.html", "surfaces.json"),
    "search.json",
    *("base", "scores.csv", "scores.md"),
}


REFUSED = 3  # 20 steps are few: the best LR of so small a demo lies on the lowest one


def answer(folder: Path, *arguments: str, status: int = 0) -> Any:
    return json.loads(almr(folder, *arguments, "--json", status=(status,)))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run directory, with what `almr run` printed: a process with a Ray of its own, as a user starts it."""
    folder = tmp_path_factory.mktemp("demo")
    content = yaml.safe_load(study_file.find("demo").read_text(encoding="utf-8"))
    content["training"] |= {"tokens": 20 * 2048, "evaluation_tokens": 8192}
    content["grid"] = {"almr": [0.1, 0.5, 0.9], "lr": [5e-4, 1e-3, 4e-3]}
    content["search"]["trials"] = 9
    (folder / "small.yaml").write_text(yaml.safe_dump(content))
    command = [ALMR, "run", "small.yaml", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == REFUSED, done.stderr
    return folder / "runs/demo", json.loads(done.stdout)


def test_every_file_of_the_run_is_there(demo: tuple[Path, dict[str, Any]]) -> None:
    run, printed = demo
    assert {path.name for path in run.iterdir() if path.name != ".lock"} == FILES
    assert {p.name for p in (run / "figures").iterdir()} == {
        f"{name}.{kind}"
        for name in ("objective", "slices", "languages", "front", "training", "scores", "transfer")
        for kind in ("png", "csv")
    }
    for folder in (run / "trials").iterdir():
        assert {p.name for p in folder.iterdir()} == {
            "trial.json",
            "metrics.jsonl",
            "train.log",
            "record.json",
            "questions.json",
            "heartbeat",
            "tensorboard",
        }
    assert Path(printed["report"]).is_file()


def test_the_planned_disk_space_holds_the_run(demo: tuple[Path, dict[str, Any]]) -> None:
    planned = answer(demo[0].parents[1], "plan", "small.yaml")["disk_bytes"]
    of_run = sum(planned[part] for part in ("checkpoints", "models", "bundle", "logs"))
    assert size([str(demo[0])], set()) <= of_run


def test_a_refused_winner_is_exported_only_with_a_reason(demo: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run, printed = demo
    assert "edge" in {refusal["code"] for refusal in printed["refusals"]}
    assert printed["launch"] is None
    assert "--accept-risk" in printed["launch_refusal"]
    command = ["export", "demo", "--out", str(tmp_path / "launch")]
    assert almr(run.parents[1], *command, status=(2,)).startswith("the fit is refused (edge")
    assert not (tmp_path / "launch").exists()
    made = answer(run.parents[1], *command, "--accept-risk", "a test of the bundle")
    assert made["verdict"].startswith("NO GO: the fit")
    assert "a test of the bundle" in (Path(made["folder"]) / "GO.md").read_text()
    evidence = json.loads((tmp_path / "launch/evidence.json").read_text())
    assert evidence["accepted_risk"]["reason"] == "a test of the bundle"


def test_the_model_learns_the_additional_language(demo: tuple[Path, dict[str, Any]]) -> None:
    table = {path.parent.name: json.loads(path.read_text()) for path in demo[0].glob("trials/*/record.json")}
    assert len(table) == 9
    assert {record["status"] for record in table.values()} == {"complete"}
    record = table["almr=0.90_lr=1e-03_seed=0"]
    # A real base model: it has learnt the original language, and of the additional one a trace.
    assert 3.0 < record["base_loss"]["original"] < 4.0
    assert 5.0 < record["base_loss"]["additional"] < 6.0
    assert record["loss"]["additional"] < record["base_loss"]["additional"] - 0.1
    assert record["loss"]["original"] > record["base_loss"]["original"]


def test_plan_knows_the_corpora_once_they_are_packed(demo: tuple[Path, dict[str, Any]]) -> None:
    run, _ = demo
    planned = answer(run.parents[1], "plan", "small.yaml")
    blocks = Run(run).ingredients().corpora["additional"].blocks
    assert planned["left"] == 0
    assert planned["epochs"]["additional"][2] == pytest.approx(0.9 * 320 / blocks)


@pytest.mark.parametrize("verb", ["status", "fit", "report"])
def test_each_verb_works_on_its_own(demo: tuple[Path, dict[str, Any]], verb: str) -> None:
    run, printed = demo
    said = answer(run.parents[1], verb, "demo", status=REFUSED if verb == "fit" else 0)
    if verb == "fit":
        assert said["winner"] == printed["winner"] == json.loads((run / "fit.json").read_text())["winner"]
    if verb == "status":
        assert (said["complete"], said["left"]) == (9, 0)


def test_running_again_trains_nothing_and_says_the_same(demo: tuple[Path, dict[str, Any]]) -> None:
    run, printed = demo
    written = {path: path.stat().st_mtime_ns for path in run.glob("trials/*/*")}
    again = answer(run.parents[1], "run", "small.yaml", status=REFUSED)
    assert again["winner"] == printed["winner"]
    assert written == {path: path.stat().st_mtime_ns for path in run.glob("trials/*/*")}
    assert again["seconds"] < printed["seconds"]


def test_a_launch_from_the_bundle_reaches_the_predicted_loss(demo: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Our own trainer, under torchrun, on the trials' model and tokens: there the prediction is of this very run."""
    run = tmp_path / "runs/demo"
    shutil.copytree(demo[0], run)
    content = yaml.safe_load((run / "study.yaml").read_text())
    same = {name: content["training"][name] for name in ("tokens", "global_batch_tokens", "sequence_length")}
    content["launch"] = same | {"model": "tiny", "gpus_per_node": 0, "micro_batch_sequences": 8}
    (run / "study.yaml").write_text(yaml.safe_dump(content))
    answer(tmp_path, "fit", "demo", status=REFUSED)  # another launch: the transfer has to be computed again
    answer(tmp_path, "export", "demo", "--format", "native", "--accept-risk", "a launch at the trials' own size")
    environment = os.environ | {"PATH": f"{Path(ALMR).parent}:{os.environ['PATH']}"}
    started = subprocess.run(
        ["bash", str(run / "launch/native/start.sh")], env=environment, capture_output=True, text=True, check=False
    )
    assert started.returncode == 0, started.stderr
    [path] = run.glob("checkpoints-*/trials/*/record.json")
    record, fit = json.loads(path.read_text()), json.loads((demo[0] / "fit.json").read_text())
    winner = fit["winner"]
    assert (record["almr"], record["lr"]) == (winner["almr"], winner["lr"])
    assert record["steps"] == 20
    low, high = winner["objective_interval"].values()
    room = math.hypot(*fit["noise"].values()) / 2 * 2  # the interval is the surface's; a run has noise of its own
    assert low - room <= sum(record["loss"].values()) / 2 <= high + room
    assert high + room < sum(record["base_loss"].values()) / 2  # or the prediction would say nothing
    assert re.search(r"\d of 2 held-out losses are inside their predicted intervals\nEnglish: held-out", started.stdout)
