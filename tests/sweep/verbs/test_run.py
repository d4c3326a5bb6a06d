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

import optuna
import pandas as pd
import pytest
import yaml
from one_ray import almr
from replay_study import GRID, replayed, wait_for_records
from whole_run import without_ray

from sweep.store.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.ray]
ALMR = str(Path(sys.executable).with_name("almr"))


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([ALMR, *arguments], cwd=folder, start_new_session=True, **pipes)


FAILED = "almr=0.10_lr=3e-03_seed=0"
DONE = (0, 3)  # that nine trials need not decide is not what these tests are about


def attempts(run: Path) -> dict[str, int]:
    return {p.parent.name: json.loads(p.read_text())["attempt"] for p in run.glob("trials/*/trial.json")}


def optuna_states(folder: Path) -> dict[str, int]:
    found = optuna.load_study(study_name="replayed", storage=f"sqlite:///{folder}/optuna.db").trials
    return Counter(trial.state.name for trial in found)


@pytest.mark.usefixtures("shared_ray")
def test_failures_are_retried_then_recorded_while_the_others_go_on_and_a_grid_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(text: str) -> str:
        return text.replace("0.1,0.003,0,complete,", "0.1,0.003,0,failed,disk full").replace(
            "0.7,0.01,0,complete,", "0.7,0.01,0,diverged,blew up"
        )

    almrs = [0.1, 0.4, 0.7, 0.9]
    (tmp_path / "tell.py").write_text("import sys; open('told', 'a').write(sys.stdin.read() + '\\n')")
    tools = {
        "tracking": {"optuna": "sqlite:///optuna.db"},
        "notify": {"command": [sys.executable, "tell.py"], "webhook": "TEAM_CHAT"},
        # A replay takes one core, whatever its trials take: no node has so many (tests/sweep/trials/test_capacity.py).
        "resources": {"cpus": 4096, "concurrent": 2},
    }
    monkeypatch.setenv("TEAM_CHAT", "http://127.0.0.1:1/planted")  # nobody listens
    monkeypatch.setattr("sweep.trials.followers.notify.webhook.PAUSES", (0.0, 0.0))
    study = replayed(tmp_path, edit=edit, grid=GRID | {"almr": almrs}, **tools)
    first = almr(tmp_path, "run", str(study), status=(1,))
    assert first.count("warning: notify.webhook: no connection (ConnectionRefusedError); the run goes on") == 1

    now = json.loads(almr(tmp_path, "status", "replayed", "--json"))
    assert (now["complete"], now["diverged"], now["failed"], now["left"]) == (10, 1, 1, 1)
    assert now["failures"] == {FAILED: "RuntimeError: disk full"}
    run = tmp_path / "runs/replayed"
    assert attempts(run)[FAILED] == 2
    assert (run / "trials" / FAILED / "train.log").read_text().count("RuntimeError: disk full") == 2
    record = json.loads((run / "trials" / FAILED / "record.json").read_text())
    assert record["seconds"] > 0  # what it used, for a budget
    assert (record["gpu_hours"], record["trained_tokens"]) == (0, 0)
    assert "disk full" in " ".join(pd.read_csv(run / "trials.csv")["excluded"].dropna())

    # What failed is infrastructure: mended, the same command runs it again, the points that a larger grid adds, and
    # nothing else.
    assert optuna_states(tmp_path) == {"COMPLETE": 10, "PRUNED": 1, "FAIL": 1}
    larger = GRID | {"almr": [*almrs, 0.2]}
    replayed(tmp_path, edit=lambda text: edit(text).replace("failed,disk full", "complete,"), grid=larger, **tools)
    out = almr(tmp_path, "run", str(study), status=DONE)
    assert "4 to run" in out
    assert "14 complete trials, 1 diverged, 0 failed" in out
    assert sorted(attempts(run).values()) == [1] * 14 + [3]
    assert optuna_states(tmp_path) == {"COMPLETE": 14, "PRUNED": 1}, "no trial is there twice"
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert [one["event"] for one in told][:2] == ["failed", told[1]["event"]]
    assert told[0]["reason"] == "RuntimeError: disk full"
    assert {one["event"] for one in told[1:]} <= {"finished", "refused"}
    assert not [p for p in (tmp_path / "runs").rglob("*") if p.is_file() and b"planted" in p.read_bytes()]


def test_a_changed_recipe_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    study = replayed(tmp_path)
    with without_ray():
        almr(tmp_path, "run", str(study), status=DONE)
    content = yaml.safe_load(study.read_text())
    content["training"]["tokens"] *= 2
    study.write_text(yaml.safe_dump(content))
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "runs").rglob("*") if p.is_file())
    refusal = almr(tmp_path, "run", str(study), status=(2,))
    assert "training.tokens: 2048 -> 4096" in refusal
    assert len(refusal.strip().splitlines()) == 1
    assert before == sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "runs").rglob("*") if p.is_file())


@pytest.mark.usefixtures("shared_ray")
def test_a_killed_worker_is_replaced_and_an_interrupted_run_loses_nothing(tmp_path: Path) -> None:
    study = replayed(tmp_path, edit=slow, resources={"concurrent": 1})
    # A user's own package of the same name lies where the command is given: it must not be ours on the workers.
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").write_text("raise RuntimeError('shadowed')")
    process, run = start(tmp_path, "run", str(study)), tmp_path / "runs/replayed"
    wait_for_records(run, 1, process)
    os.kill(worker_in_a_trial(run, process), signal.SIGKILL)
    wait_for_records(run, 3, process)
    worker_in_a_trial(run, process)
    assert sorted(attempts(run).values()) == [1, 1, 1, 2]
    assert interrupted(process) == "almr: interrupted; finished trials are kept; run the same command again to resume\n"
    kept = {p: p.stat().st_mtime_ns for p in run.glob("trials/*/record.json")}
    assert len(kept) == 3

    answer = json.loads(almr(tmp_path, "run", str(replayed(tmp_path)), "--json", status=DONE))  # nothing beside it
    assert answer["trials"] == {"complete": 9, "diverged": 0, "failed": 0, "excluded": 0}
    assert sorted(attempts(run).values()) == [1] * 7 + [2] * 2
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())


def slow(table: str) -> str:
    """The trials of the first ALMR take a second each, the others a minute."""
    first = re.sub(r"^(0\.1,.*),0\.0$", r"\1,1.0", table, flags=re.MULTILINE)
    return re.sub(r",0\.0$", ",60.0", first, flags=re.MULTILINE)


def interrupted(process: subprocess.Popen[str]) -> str:
    """What it says of signals that come for as long as it lives: Ray has handlers of its own, and then none."""
    deadline = time.monotonic() + 60
    process.send_signal(signal.SIGTERM)
    time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    while process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 130, err
    return err


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


def test_when_nothing_can_be_fitted_the_reasons_are_shown(tmp_path: Path) -> None:
    study = replayed(tmp_path, edit=lambda text: text.replace("0.1,0.003,0,complete,", "0.1,0.003,0,diverged,blew up"))
    with without_ray():
        message = almr(tmp_path, "run", str(study), status=(2,))
    assert "8 usable trials: a surface needs 9 or more" in message
    [reason] = pd.read_csv(tmp_path / "runs/replayed/trials.csv")["excluded"].dropna()
    assert "blew up" in reason


def test_a_grid_too_small_for_a_surface_is_refused_before_it_runs(tmp_path: Path) -> None:
    study = replayed(tmp_path, grid={"almr": [0.1, 0.4], "lr": [1e-3, 3e-3]})
    assert "its grid has 4 trials, a surface needs 9" in almr(tmp_path, "run", str(study), status=(2,))
    assert not list((tmp_path / "runs").rglob("record.json"))
