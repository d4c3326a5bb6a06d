"""A chain trains its stages from a model, keeps what has ended, and refuses what is not what its stages read."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conversations import sft_content
from preference_pairs import dpo_content
from transformers import AutoTokenizer
from typer.testing import CliRunner, Result

from sweep import cli
from sweep.store.run import Run
from sweep.study import InputError, Study
from sweep.trials.progress import RunProgress
from sweep.verbs.running import preparing, training
from sweep.verbs.stages.chain_record import ChainRecord, StageResult
from sweep.worker import run_trial as worker

TRAINED: list[str] = []


@pytest.fixture(autouse=True)
def without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Trials are really trained, in this process; all else is as a user has it."""
    monkeypatch.chdir(tmp_path)
    TRAINED.clear()

    def train(study: Study, run: Run, progress: RunProgress, console: Any, *others: Any, **more: Any) -> None:
        preparing.prepare(study, run, console)
        run.freeze(study)
        for trial in progress.left:
            worker.carry_out(run, study, trial, run.start(trial, study))
            TRAINED.append(f"{study.name} {trial.lr:g}")

    monkeypatch.setattr(training, "train", train)


def almr(*arguments: str) -> Result:
    result = CliRunner().invoke(cli.app, list(arguments))
    if isinstance(result.exception, InputError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def chain(folder: Path, model: Path, **grid: Any) -> str:
    stage = sft_content(folder, model) | {"grid": {"almr": [0.5], "lr": [3e-3], "seeds": [0]} | grid}
    fields = {name: value for name, value in stage.items() if name not in ("name", "base_model")}
    content = {"name": "chat", "model": {"pretrained": str(model)}, "post_training": {"sft": fields}}
    Path("chat.yaml").write_text(yaml.safe_dump(content))
    return "chat.yaml"


def with_preferences(folder: Path, model: Path) -> str:
    """The chain with a second stage, which keeps the chat template of the first."""
    file = Path(chain(folder, model))
    (folder / "pairs").mkdir()
    stage = dpo_content(folder / "pairs", model, steps=2) | {"grid": {"almr": [0.5], "lr": [1e-3], "seeds": [0]}}
    content = yaml.safe_load(file.read_text())
    own = ("name", "base_model", "documents")
    content["post_training"]["dpo"] = {name: value for name, value in stage.items() if name not in own}
    file.write_text(yaml.safe_dump(content))
    return str(file)


def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("runs/chat/chain.json").read_text())
    return found


def test_a_chain_of_one_cell_ends_well_keeps_its_model_and_is_not_trained_again(
    tmp_path: Path, small_model: Path
) -> None:
    file = chain(tmp_path, small_model)
    first = almr("run", file)
    assert first.exit_code == 0
    assert TRAINED == ["chat-sft 0.003"]
    [stage] = record()["stages"]
    assert AutoTokenizer.from_pretrained(stage["model"]).chat_template
    assert stage["loss"]["original"] < stage["base_loss"]["original"]
    assert "held-out questions in" in first.stdout
    again = almr("run", file)
    assert (again.exit_code, TRAINED) == (0, ["chat-sft 0.003"])
    assert "1 of 1 stages ended" in almr("status", "chat").stdout
    assert json.loads(almr("status", "chat", "--json").stdout)["models"].keys() == {"base", "sft"}
    Path("study.yaml").write_text(yaml.safe_dump(sft_content(tmp_path, small_model) | {"name": "chat"}))
    with pytest.raises(
        InputError, match=r"name: chat: .*runs/chat is the folder of a chain: give the study another name"
    ):
        almr("run", "study.yaml")


def test_the_plan_says_whether_a_chain_is_prepared_as_a_job_of_slurm_asks(tmp_path: Path, small_model: Path) -> None:
    file = with_preferences(tmp_path, small_model)

    def planned() -> str:
        return almr("plan", file, "--json").stdout

    assert '"prepared": false' in planned()
    almr("prepare", file)
    assert '"prepared": true' in planned()
    home = Path("runs/chat")  # as it is once fine-tuning has left a model
    home.mkdir(parents=True)
    shutil.copytree(small_model, "tuned")
    tuned = StageResult(stage="sft", run="chat-sft", trial="one", model=str(tmp_path / "tuned"), began_with="")
    record = ChainRecord(name="chat", planned={"sft": "chat-sft", "dpo": "chat-dpo"}, stages=(tuned,))
    (home / "chain.json").write_text(record.model_dump_json())
    assert '"prepared": true' in planned()
    next(tmp_path.glob("*.jsonl")).touch()
    assert '"prepared": false' in planned()


@pytest.mark.parametrize("lr", [[3e-3], [1e-6, 3e-3]])
def test_who_is_to_be_told_of_a_stage_is_told_once(
    lr: list[float], tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, told = chain(tmp_path, small_model, lr=lr), tmp_path / "told"
    content = yaml.safe_load(Path(file).read_text())
    script = "import os; print(os.environ['ALMR_TEXT'], file=open(os.environ['TOLD'], 'a'))"
    content["post_training"]["sft"]["notify"] = {"command": [sys.executable, "-c", script]}
    Path(file).write_text(yaml.safe_dump(content))
    monkeypatch.setenv("TOLD", str(told))
    for _ in range(2):
        assert almr("run", file).exit_code == 0
    trials = "1 trial" if len(lr) == 1 else "2 trials"
    assert told.read_text() == f"chat-sft has ended: {trials} complete\n"


def test_of_a_few_trials_the_best_is_taken(tmp_path: Path, small_model: Path) -> None:
    almr("run", chain(tmp_path, small_model, lr=[1e-6, 3e-3]))
    assert len(TRAINED) == 2
    assert "lr=3e-03" in record()["stages"][0]["trial"]


def test_a_trial_of_an_earlier_grid_is_not_taken_for_that_of_this_one(tmp_path: Path, small_model: Path) -> None:
    almr("run", chain(tmp_path, small_model))
    with pytest.raises(
        InputError, match=r"the only model that was kept is of almr=0\.50_lr=3e-03_seed=0, which the grid"
    ):
        almr("run", chain(tmp_path, small_model, lr=[1e-6]))
    content = yaml.safe_load(Path(chain(tmp_path, small_model, lr=[1e-5])).read_text())
    content["post_training"]["sft"]["keep"] = "all"
    Path("chat.yaml").write_text(yaml.safe_dump(content))
    almr("run", "chat.yaml")
    assert record()["stages"][0]["trial"].startswith("almr=0.50_lr=1e-05")


def test_a_stage_of_another_model_or_text_is_not_taken_for_this_one(
    tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = chain(tmp_path, small_model)
    almr("run", file)
    text = tmp_path / "original.jsonl"
    kept = text.read_text()
    text.write_text(kept.replace("lazy", "busy"))
    with pytest.raises(InputError, match=r"chat-sft: the content of corpora\.original has changed since its finished"):
        almr("run", file)
    text.write_text(kept)
    almr("run", file)
    other = tmp_path / "other"
    other.mkdir()
    for path in small_model.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=r"chat-sft: its trials have another recipe \(base_model\.pretrained"):
        almr("run", chain(tmp_path, other))
    assert TRAINED == ["chat-sft 0.003"]


def test_a_study_of_one_trial_is_run_alone(tmp_path: Path, small_model: Path) -> None:
    content = sft_content(tmp_path, small_model) | {"grid": {"almr": [0.5], "lr": [3e-3], "seeds": [0]}, "keep": "all"}
    Path("one.yaml").write_text(yaml.safe_dump(content))
    ran = almr("run", "one.yaml")
    assert ran.exit_code == 0
    assert "one trial, complete: nothing to fit, so no winner and no launch" in ran.stdout
    told = json.loads(almr("run", "one.yaml", "--json").stdout)
    assert told["status"] == "complete"
    assert Path(told["model"]).is_dir()


def test_each_stage_continues_from_the_model_of_the_one_before(tmp_path: Path, small_model: Path) -> None:
    pytest.importorskip("trl")
    almr("run", with_preferences(tmp_path, small_model))
    assert TRAINED == ["chat-sft 0.003", "chat-dpo 0.001"]
    tuned, aligned = record()["stages"]
    assert Run.find("chat-dpo", "runs").study().base_model.pretrained == tuned["model"]
    assert aligned["base_loss"]["original"] == pytest.approx(math.log(2), abs=1e-4)
    assert json.loads(almr("status", "chat", "--json").stdout)["models"].keys() == {"base", "sft", "dpo"}
    shutil.move("runs", "moved")
    again = almr("run", "chat.yaml", "--runs", "moved")
    assert (again.exit_code, TRAINED) == (0, ["chat-sft 0.003", "chat-dpo 0.001"])
    shutil.rmtree(next(Path("moved/chat-dpo/trials").glob("almr=*")))
    with pytest.raises(
        InputError, match=r"chat-dpo: its trials began with \S+, which was moved, .*: link it there \(ln -s"
    ):
        almr("run", "chat.yaml", "--runs", "moved")
