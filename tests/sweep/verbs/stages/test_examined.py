"""`almr doctor` of the folder of a chain: its own files, all damaged ones at once, and the runs to look at."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from damages import BYTES, OF_JSON, Damage
from typer.testing import CliRunner

from sweep import cli
from sweep.verbs.stages.answers import ChainAnswers
from sweep.verbs.stages.chain_record import ChainRecord, StageResult

SOUND = ("huge", "content {}")  # answers of nothing are sound; a huge file is tried of the runs
DAMAGES = [one for one in (*BYTES, *OF_JSON) if one.name not in SOUND]


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    folder, model = tmp_path / "runs" / "chat", tmp_path / "model"
    folder.mkdir(parents=True)
    model.mkdir()
    tuned = StageResult(stage="sft", run="chat-sft", trial="one", model=str(model), began_with="0")
    record = ChainRecord(name="chat", planned={"sft": "chat-sft", "dpo": "chat-dpo"}, model="org/m", stages=(tuned,))
    (folder / "chain.json").write_text(record.model_dump_json())
    (folder / "answers.json").write_text(ChainAnswers().model_dump_json())
    return folder


def doctor(folder: Path) -> tuple[int, list[dict[str, str]], list[dict[str, str]]]:
    done = CliRunner().invoke(cli.app, ["doctor", str(folder), "--json"])
    found = json.loads(done.stdout)
    return done.exit_code, found["damaged"], found["notes"]


def test_a_sound_chain_names_its_stages_and_a_lost_model(chain: Path, tmp_path: Path) -> None:
    stages = "its stages are runs, to be looked at by themselves: chat-sft, chat-dpo"
    assert doctor(chain) == (0, [], [{"file": "chain.json", "message": stages}])
    (tmp_path / "model").rmdir()
    status, damaged, notes = doctor(chain)
    assert (status, damaged) == (0, [])
    assert "the model of sft is not there" in notes[0]["message"]


@pytest.mark.parametrize("file", ["chain.json", "answers.json"])
@pytest.mark.parametrize(
    "damage", [one for one in (*BYTES, *OF_JSON) if one.name not in SOUND], ids=lambda one: one.name
)
def test_each_damage_is_named(chain: Path, file: str, damage: Damage) -> None:
    damage.do(chain / file)
    before = sorted(os.listdir(chain))
    status, damaged, _ = doctor(chain)
    assert (status, [one["file"] for one in damaged]) == (2, [file])
    assert len(damaged[0]["message"]) < 300
    assert sorted(os.listdir(chain)) == before


def test_the_status_of_a_chain_elsewhere_is_of_its_own_runs(
    chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (chain.parent / "chat-sft").mkdir()
    (chain.parent / "chat-sft" / "study.yaml").touch()
    for place, name in ((tmp_path, str(chain)), (chain, "."), (tmp_path / "runs", "chat")):
        monkeypatch.chdir(place)
        told = CliRunner().invoke(cli.app, ["status", name]).stdout.splitlines()
        assert told[-3:-1] == [f"sft: model: {tmp_path / 'model'}", "dpo: not begun"]
