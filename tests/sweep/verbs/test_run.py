"""Real Ray runs through the command: failures, kills, Ctrl-C, growing, resuming.

What is killed or stopped is a process with a Ray of its own, as a user starts it; all else joins one cluster.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import hostile_folder
import optuna
import pandas as pd
import pytest
import yaml
from one_ray import almr
from replay_study import GRID, replayed, wait_for_records

from sweep.store.run import Run
from sweep.study import Study, study_file

pytestmark = [pytest.mark.slow, pytest.mark.ray]
ALMR = str(Path(sys.executable).with_name("almr"))


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([ALMR, *arguments], cwd=folder, start_new_session=True, **pipes)


DONE = (0, 3)  # that nine trials need not decide is not what these tests are about


def attempts(run: Path) -> dict[str, int]:
    return {p.parent.name: json.loads(p.read_text())["attempt"] for p in run.glob("trials/*/trial.json")}


def optuna_states(folder: Path) -> dict[str, int]:
    found = optuna.load_study(study_name="replayed", storage=f"sqlite:///{folder}/optuna.db").trials
    return Counter(trial.state.name for trial in found)


@pytest.mark.usefixtures("shared_ray")
def test_failures_are_retried_then_recorded_while_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(text: str) -> str:
        return text.replace("0.1,0.003,0,complete,", "0.1,0.003,0,failed,disk full").replace(
            "0.7,0.01,0,complete,", "0.7,0.01,0,diverged,blew up"
        )

    wider = GRID | {"almr": [0.1, 0.4, 0.7, 0.9]}
    (tmp_path / "tell.py").write_text("import sys; open('told', 'a').write(sys.stdin.read() + '\\n')")
    tools = {
        "tracking": {"optuna": "sqlite:///optuna.db"},
        "notify": {"command": [sys.executable, "tell.py"], "webhook": "TEAM_CHAT"},
    }
    monkeypatch.setenv("TEAM_CHAT", "http://127.0.0.1:1/planted")  # nobody listens
    study = replayed(tmp_path, edit=edit, grid=wider, **tools)
    first = almr(tmp_path, "run", str(study), status=(1,))
    assert first.count("warning: notify.webhook: no connection (ConnectionRefusedError); the run goes on") == 1

    now = json.loads(almr(tmp_path, "status", "replayed", "--json"))
    assert (now["complete"], now["diverged"], now["failed"], now["left"]) == (10, 1, 1, 1)
    assert now["failures"] == {"almr=0.10_lr=3e-03_seed=0": "RuntimeError: disk full"}
    assert attempts(tmp_path / "runs/replayed")["almr=0.10_lr=3e-03_seed=0"] == 2
    log = (tmp_path / "runs/replayed/trials/almr=0.10_lr=3e-03_seed=0/train.log").read_text()
    assert log.count("RuntimeError: disk full") == 2
    record = json.loads((tmp_path / "runs/replayed/trials/almr=0.10_lr=3e-03_seed=0/record.json").read_text())
    assert record["seconds"] > 0  # what it used, for a budget
    assert (record["gpu_hours"], record["trained_tokens"]) == (0, 0)

    # What failed is infrastructure: mended, the same command runs it again, and nothing else.
    assert optuna_states(tmp_path) == {"COMPLETE": 10, "PRUNED": 1, "FAIL": 1}
    replayed(tmp_path, edit=lambda text: edit(text).replace("failed,disk full", "complete,"), grid=wider, **tools)
    out = almr(tmp_path, "run", str(study), status=DONE)
    assert "1 to run" in out
    assert "11 complete trials, 1 diverged, 0 failed" in out
    assert sorted(attempts(tmp_path / "runs/replayed").values()) == [1] * 11 + [3]
    assert optuna_states(tmp_path) == {"COMPLETE": 11, "PRUNED": 1}, "no trial is there twice"
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert [one["event"] for one in told][:2] == ["failed", told[1]["event"]]
    assert told[0]["reason"] == "RuntimeError: disk full"
    assert {one["event"] for one in told[1:]} <= {"finished", "refused"}
    assert not [p for p in (tmp_path / "runs").rglob("*") if p.is_file() and b"planted" in p.read_bytes()]


@pytest.mark.usefixtures("shared_ray")
def test_a_grown_grid_runs_its_new_points_and_a_changed_recipe_is_refused(tmp_path: Path) -> None:
    # A replay takes one core, whatever its trials take: no node has so many (tests/sweep/trials/test_capacity.py).
    study = replayed(tmp_path, resources={"cpus": 4096, "concurrent": 1})
    first = json.loads(almr(tmp_path, "run", str(study), "--json", status=DONE))
    assert first["trials"]["complete"] == 9
    content = yaml.safe_load(study.read_text())
    content["grid"]["almr"].append(0.9)
    study.write_text(yaml.safe_dump(content))
    assert "3 to run" in almr(tmp_path, "run", str(study), status=DONE)
    assert set(attempts(tmp_path / "runs/replayed").values()) == {1}

    content["training"]["tokens"] *= 2
    study.write_text(yaml.safe_dump(content))
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "runs").rglob("*") if p.is_file())
    refusal = almr(tmp_path, "run", str(study), status=(2,))
    assert "training.tokens: 2048 -> 4096" in refusal
    assert len(refusal.strip().splitlines()) == 1
    assert before == sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "runs").rglob("*") if p.is_file())


@pytest.mark.usefixtures("shared_ray")
def test_an_interrupted_run_says_how_to_go_on_and_loses_nothing(tmp_path: Path) -> None:
    study = replayed(tmp_path, seconds=0.7)
    process = start(tmp_path, "run", str(study))
    run = tmp_path / "runs/replayed"
    wait_for_records(run, 2, process)
    # Ray has handlers of its own, and then none
    for number in (signal.SIGTERM, signal.SIGINT, *[signal.SIGTERM] * 200):
        process.send_signal(number)
        time.sleep(0.02)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == "almr: interrupted; finished trials are kept; run the same command again to resume\n"
    kept = {p: p.stat().st_mtime_ns for p in run.glob("trials/*/record.json")}
    assert 2 <= len(kept) < 9
    almr(tmp_path, "run", str(replayed(tmp_path)), status=DONE)
    assert len(list(run.glob("trials/*/record.json"))) == 9
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    def slow_at_first(text: str) -> str:
        return re.sub(r"^(0\.1,.*),0\.0$", r"\1,1.0", text, flags=re.MULTILINE)

    study = replayed(tmp_path, edit=slow_at_first, resources={"concurrent": 1})
    # A user's own package of the same name lies where the command is given: it must not be ours on the workers.
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").write_text("raise RuntimeError('shadowed')")
    process = start(tmp_path, "run", str(study))
    wait_for_records(tmp_path / "runs/replayed", 1, process)
    os.kill(worker_in_a_trial(tmp_path / "runs/replayed", process), signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode in DONE, err
    assert "9 complete trials, 0 diverged, 0 failed" in out
    assert sorted(attempts(tmp_path / "runs/replayed").values()) == [1] * 8 + [2]


def worker_in_a_trial(run: Path, process: subprocess.Popen[str]) -> int:
    """Between two trials a worker bears another title, and the next trial is not begun: wait for both."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        begun = len(list(run.glob("trials/*/trial.json"))) > len(list(run.glob("trials/*/record.json")))
        if begun and (found := [pid for pid in children(process.pid) if "train" in title(pid)]):
            return found[0]
        time.sleep(0.02)
    raise AssertionError("no worker in a trial")


def children(pid: int) -> list[int]:
    try:
        found = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it ended meanwhile
        return []
    return found + [grandchild for child in found for grandchild in children(child)]


def title(pid: int) -> str:
    """What Ray calls a worker process; empty for any other."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
    return command if command.startswith("ray::") else ""


TIMINGS = ["attempt", "seconds", "training_seconds", "tokens_per_second", "peak_memory_bytes", "gpu_hours"]


def table(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "trials.csv").drop(columns=TIMINGS)


@pytest.mark.usefixtures("shared_ray")
def test_a_killed_driver_resumes_to_the_table_of_an_uninterrupted_run(local_study: Study, tmp_path: Path) -> None:
    content = local_study.model_dump(mode="json", by_alias=True, exclude_none=True)
    for name in ("killed", "whole"):
        text = yaml.safe_dump(content | {"name": name, "grid": GRID, "resources": {"concurrent": 1}})
        (tmp_path / f"{name}.yaml").write_text(text)
    hostile_folder.plant(tmp_path)  # of one who keeps an `analysis` of his own where he starts almr
    process = start(tmp_path, "run", "killed.yaml")
    run = tmp_path / "runs/killed"
    wait_for_records(run, 3, process)
    assert hostile_folder.imported(tmp_path) == []
    assert {path.name for path in (run / "code").iterdir()} == {"analysis", "sweep", "trainers"}
    process.kill()
    process.communicate()
    kept = {p: p.read_bytes() for p in run.glob("trials/*/record.json")}
    assert 3 <= len(kept) < 9

    almr(tmp_path, "run", "killed.yaml", status=DONE)
    almr(tmp_path, "run", "whole.yaml", status=DONE)
    assert all(path.read_bytes() == content for path, content in kept.items())
    pd.testing.assert_frame_equal(table(run), table(tmp_path / "runs/whole"))
    study = study_file.load(run / "study.yaml")
    assert Run(run).left(study.grid_trials) == []


def test_credentials_are_not_in_the_environment_that_ray_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sweep.controller import cluster

    asked: dict[str, object] = {}
    monkeypatch.setenv("HF_TOKEN", "hf_secret_value")
    monkeypatch.setattr("ray.init", lambda **options: asked.update(options))
    monkeypatch.setattr("ray.shutdown", lambda: None)
    with cluster.joined(Run(tmp_path), "auto"):
        assert "runtime_env" in asked
        assert "hf_secret_value" not in str(asked)
    assert cluster.secrets()["HF_TOKEN"] == "hf_secret_value"


@pytest.mark.usefixtures("shared_ray")
def test_when_nothing_can_be_fitted_the_reasons_are_shown(tmp_path: Path) -> None:
    def edit(text: str) -> str:
        return text.replace("0.1,0.003,0,complete,", "0.1,0.003,0,failed,disk full")

    study = replayed(tmp_path, edit=edit, resources={"retries": 0})
    message = almr(tmp_path, "run", str(study), status=(2,))
    assert "8 usable trials: a surface needs 9 or more" in message
    [reason] = pd.read_csv(tmp_path / "runs/replayed/trials.csv")["excluded"].dropna()
    assert "disk full" in reason


def test_a_grid_too_small_for_a_surface_is_refused_before_it_runs(tmp_path: Path) -> None:
    study = replayed(tmp_path, grid={"almr": [0.1, 0.4], "lr": [1e-3, 3e-3]})
    assert "its grid has 4 trials, a surface needs 9" in almr(tmp_path, "run", str(study), status=(2,))
    assert not list((tmp_path / "runs").rglob("record.json"))
