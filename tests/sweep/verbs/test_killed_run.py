"""A driver with a Ray of its own that is killed between two trainings, and the run that goes on after it.

Ray of this machine: who may reach it, what it writes, and what is left of it. The run: its table is that of one that
was not interrupted, and its best trials are scored once the sweep is whole.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import hostile_folder
import pandas as pd
import pytest
import yaml
from one_ray import TwoNodes, almr
from processes import below, command, listening, running
from replay_study import GRID, wait_for_records
from samples import local_content

from analysis.table import table as tables
from sweep.store import temporary
from sweep.store.run import Run
from sweep.study import Record, study_file
from sweep.worker.run_trial import work
from trainers import prepare

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.ray]
DONE = (0, 3)  # that nine trials need not decide is not what these tests are about
ALMR = str(Path(sys.executable).with_name("almr"))
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "WANDB_API_KEY",
           "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "OPENAI_API_KEY")  # fmt: skip
TIMINGS = ["attempt", "seconds", "training_seconds", "tokens_per_second", "peak_memory_bytes", "gpu_hours"]
CLOZE = {"cloze_original", "cloze_additional"}


@dataclass(frozen=True)
class Killed:
    """`folder`: where the command was given. `place`: the driver's temporary directory. `listened`: at what addresses
    its processes did. `left`: those that did not end after it. `kept`: its records.
    """

    folder: Path
    place: Path
    secrets: list[str]
    listened: list[IPv4Address | IPv6Address]
    left: list[str]
    kept: dict[Path, bytes]

    @property
    def run(self) -> Run:
        return Run(self.folder / "runs/killed")


@pytest.fixture(scope="module")
def killed(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    folder = tmp_path_factory.mktemp("killed")
    benchmarks = {"suite": "embedded", "when": "finalists", "finalists": 2}
    content = local_content(folder, small_model) | {"grid": GRID, "resources": {"concurrent": 1}}
    for name, more in (("killed", {"benchmarks": benchmarks}), ("whole", {})):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content | {"name": name} | more))
    hostile_folder.plant(folder)  # of one who keeps an `analysis` of his own where he starts almr
    # Of a path that Ray can use: those of pytest are too long.
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as place, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALMR_CACHE", str(folder / "cache"))
        yield after_three_trials(folder, Path(place))


def after_three_trials(folder: Path, place: Path) -> Killed:
    planted = {name: f"planted-{name.lower()}-value" for name in SECRETS}
    environment = os.environ | planted | {"TMPDIR": str(place)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    driver = subprocess.Popen(
        [ALMR, "run", "killed.yaml"], cwd=folder, env=environment, start_new_session=True, **pipes
    )
    wait_for_records(folder / "runs/killed", 3, driver)
    processes = below(driver.pid)
    listened, [token] = listening(processes), tokens_of(processes)
    driver.kill()
    driver.communicate()
    deadline = time.monotonic() + 60  # one writes its last page, behind all else
    while (left := running(processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    kept = {path: path.read_bytes() for path in folder.glob("runs/killed/trials/*/record.json")}
    return Killed(folder, place, [*planted.values(), token], listened, [command(pid) for pid in left], kept)


def tokens_of(processes: list[int]) -> set[str]:
    """The tokens of Ray in the environments of these processes, some of which may have ended."""
    found = set()
    for pid in processes:
        try:
            variables = Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
        except OSError:
            continue
        found |= {one.partition("=")[2] for one in variables if one.startswith("RAY_AUTH_TOKEN=")}
    return found


def test_ray_listened_on_loopback_wrote_no_secret_and_leaves_no_process(
    killed: Killed, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not killed.left
    assert len(killed.listened) >= 4, "gcs, raylet, driver and workers"
    assert all(address.is_loopback for address in killed.listened)
    roots = (killed.folder, killed.place)
    texts = [path.read_bytes() for root in roots for path in root.rglob("*") if path.is_file()]
    assert len(texts) > 20
    for value in killed.secrets:
        assert not [text for text in texts if value.encode() in text], value
    [session] = killed.place.glob("almr-ray-*/*/session_2*")
    assert session.parents[1].stat().st_mode & 0o077 == 0
    monkeypatch.setenv("RAY_TMPDIR", str(killed.place))
    temporary.sweep()
    assert not list(killed.place.glob("almr-*"))


def test_no_file_of_the_user_s_was_taken_for_one_of_ours(killed: Killed) -> None:
    assert hostile_folder.imported(killed.folder) == []
    assert {path.name for path in killed.run.files.code.iterdir()} == {"analysis", "sweep", "trainers"}


@pytest.fixture(scope="module")
def resumed(killed: Killed, two_nodes: TwoNodes) -> str:
    """What the command says when it is given again."""
    with two_nodes.serves():
        return almr(killed.folder, "run", "killed.yaml", status=DONE)


@pytest.mark.usefixtures("resumed")
def test_it_goes_on_to_the_table_of_an_uninterrupted_run(killed: Killed) -> None:
    assert 3 <= len(killed.kept) < 9
    study = study_file.load(killed.folder / "whole.yaml")
    whole = Run(killed.folder / "runs/whole")
    whole.keep_ingredients(prepare.prepare(study))
    whole.freeze(study)
    for trial in study.grid_trials:
        work(whole.address, trial)
    expected = tables.of_run(whole.folder, study).drop(columns=TIMINGS)
    found = tables.of_run(killed.run.folder, killed.run.study())
    pd.testing.assert_frame_equal(found[expected.columns], expected)
    written = pd.read_csv(killed.run.files.table)
    pd.testing.assert_series_equal(written["loss_original"], expected["loss_original"])
    assert killed.run.left(study.grid_trials) == []


def test_the_best_trials_are_scored_after_the_sweep_and_once(killed: Killed, resumed: str) -> None:
    assert "scoring 2 finished trials" in resumed
    after, folder = records(killed.run), killed.run.folder
    ranked = sorted(after.values(), key=lambda record: record.loss.original + record.loss.additional)
    assert [bool(record.scores) for record in ranked] == [True] * 2 + [False] * 7
    assert not any(record.score_failures for record in ranked)
    best = {folder / "trials" / record.trial_id for record in ranked[:2]}
    assert all(path.read_bytes() == content for path, content in killed.kept.items() if path.parent not in best)
    for one in (folder / "base", *best):
        assert set(json.loads((one / "questions.json").read_text())) == CLOZE
    assert set(json.loads((folder / "base" / "scores.json").read_text())) == CLOZE
    again = almr(killed.folder, "run", "killed.yaml", status=DONE)
    assert not list((folder / "trials").glob(".again*"))
    assert "finished trials" not in again
    assert records(killed.run) == after


def records(run: Run) -> dict[str, Record]:
    found = [Record.model_validate_json(path.read_text()) for path in run.folder.glob("trials/*/record.json")]
    return {record.trial_id: record for record in found}
