"""A trial by the trainer of a launch's format: written, packed, started, resumed and read as a launch is."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import pytest

from sweep.external.runs import halfway, one_trial, start
from sweep.external.runs.trainer_run import PreparedFiles
from sweep.external.trial import named
from sweep.external.trial.job import ExternalTrialError, TrialJob
from sweep.external.trial.named import NamedTrainer
from sweep.external.trial.nodes import WatchedNodes
from sweep.study import Ingredients, Study, Trial
from sweep.study.files.layout import TrialFiles
from sweep.study.sections.recipe.trainer import TrainerChoice
from sweep.worker.group.monitor import WorkerGroupError

FAKE = Path(__file__).with_name("fake_trainer.py")
PROGRAMS = ("almr", "torchrun", "python", "llamafactory-cli")


@pytest.fixture
def environment(tmp_path, monkeypatch) -> Path:
    """A virtual environment whose programs are the stand-in."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    for name in PROGRAMS:
        program = folder / "bin" / name
        program.write_text(f'#!/bin/bash\nexec {sys.executable} -S {FAKE} {name} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("ALMR", str(folder / "bin" / "almr"))
    return folder


@pytest.fixture
def job(tmp_path, make_facts) -> TrialJob:
    content = {
        "name": "s",
        "base_model": {"pretrained": "org/model"},
        "corpora": {"original": {"files": "/a.jsonl"}, "additional": {"files": "/b.jsonl"}},
        "training": {"sequence_length": 64, "tokens": 64 * 8 * 40, "global_batch_tokens": 64 * 8},
        "grid": {"almr": [0.1, 0.5], "lr": [1e-4, 1e-3]},
        "trainer": "llamafactory",
    }
    trial, facts = Trial(almr=0.5, lr=1e-3, seed=0), make_facts()
    corpora = {"original": facts, "additional": facts}
    made = Ingredients(base_model="/base", base_model_fingerprint="", folders={}, corpora=corpora)
    study = one_trial.of_study(Study.model_validate(content), trial, made)
    return TrialJob(study, trial, made, PreparedFiles(tmp_path, tmp_path), tmp_path / "trial" / "trainer" / "main")


@pytest.fixture
def nodes(tmp_path, job) -> WatchedNodes:
    (tmp_path / "trial").mkdir()
    return WatchedNodes(TrialFiles(tmp_path / "trial"), job.study.resources)


def trainer(environment: Path, fault: str = "", **more) -> NamedTrainer:
    choice = TrainerChoice(name="llamafactory", environment=str(environment), variables={"FAKE": fault}, **more)
    return NamedTrainer("llamafactory", start.of_choice(choice))


def begins(nodes: WatchedNodes) -> list[str]:
    return [line for line in nodes.files.log().read_text().splitlines() if line.startswith("begins")]


def test_it_trains_to_the_end_and_is_read(environment, job, nodes):
    found = trainer(environment).train(job, nodes)
    assert len(found.steps) == 40
    assert math.isnan(found.steps[0].loss)
    assert (found.versions, found.training_seconds) == ("llamafactory 1.0", 2.5)
    assert Path(found.model, "config.json").is_file()
    assert found.resumed_from is None
    assert begins(nodes) == ["begins at step 0, threads 1"]
    text = (job.folder / "launch" / "llamafactory.yaml").read_text()
    assert text.startswith("# A trial of the sweep: the study names this trainer.")


def test_one_that_was_killed_goes_on_from_its_own_checkpoint(environment, job, nodes):
    killed = trainer(environment, "die")
    with pytest.raises(WorkerGroupError, match="SIGKILL"):
        killed.train(job, nodes)
    [whole] = (job.folder / "checkpoints").glob("*/checkpoint-4")
    for torn in (whole.with_name("checkpoint-8"), whole.with_name("checkpoint-12")):
        torn.mkdir()  # as it was killed in the midst of one
        (torn / "model.safetensors").write_bytes(b"half")
    (torn / halfway.STATE).write_text('{"global_st')
    found = killed.train(job, nodes)
    assert begins(nodes) == ["begins at step 0, threads 1", "begins at step 4, threads 1"]
    assert found.resumed_from == 4
    assert found.training_seconds is None, "that of the last start alone"
    packed = nodes.files.log().read_text().count("Training /base")
    assert packed == 2


@pytest.mark.parametrize("norm", ["NaN", "Infinity", "1e31"])
def test_a_checkpoint_whose_log_has_odd_numbers_is_whole(tmp_path, norm):
    """A step that a Trainer passed over has such a norm of its gradient in its log: the checkpoint is not torn."""
    (whole := tmp_path / "launch" / "checkpoint-4").mkdir(parents=True)
    (whole / halfway.STATE).write_text(f'{{"global_step": 4, "log_history": [{{"grad_norm": {norm}}}]}}')
    halfway.remove_torn("llamafactory", tmp_path)
    assert halfway.newest("llamafactory", tmp_path) == 4


def test_its_packed_text_stays_and_other_settings_begin_anew(environment, job, nodes):
    trainer(environment).train(job, nodes)
    packed = job.folder / "launch" / "data" / "blocks.json"
    before = packed.stat().st_mtime_ns
    trainer(environment).train(job, nodes)
    assert packed.stat().st_mtime_ns == before
    assert begins(nodes)[-1] == "begins at step 40, threads 1"
    changed = job.study.model_copy(update={"training": job.study.training.model_copy(update={"tokens": 64 * 8 * 20})})
    trainer(environment).train(TrialJob(changed, job.trial, job.ingredients, job.files, job.folder), nodes)
    assert packed.stat().st_mtime_ns != before
    assert begins(nodes)[-1] == "begins at step 0, threads 1"


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        ("crash", WorkerGroupError, "RuntimeError: no kernel for this"),
        ("nonsense", ExternalTrialError, "what llamafactory left cannot be read: Invalid JSON"),
    ],
)
def test_a_fault_has_a_reason(environment, job, nodes, fault, kind, reason):
    with pytest.raises(kind, match=reason):
        trainer(environment, fault).train(job, nodes)


def test_one_that_stops_at_a_loss_that_is_not_finite_has_diverged(environment, job, nodes):
    found = trainer(environment, "not finite").train(job, nodes)
    assert found.diverged
    assert found.diverged.startswith("llamafactory stopped: [rank0]: RuntimeError: Loss is not finite")


def test_a_container_runs_every_program_of_the_trainer(environment, job, nodes, tmp_path):
    """Its words come before each command, and our PATH is left outside."""
    inside = tmp_path / "container"
    inside.write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/words\nPATH={environment}/bin:/usr/bin:/bin exec "$@"\n')
    inside.chmod(0o755)
    choice = TrainerChoice(name="llamafactory", container=(str(inside), "env"), variables={"FAKE": ""})
    found = NamedTrainer("llamafactory", start.of_choice(choice)).train(job, nodes)
    assert len(found.steps) == 40
    started, read = (tmp_path / "words").read_text().splitlines()
    assert started.startswith("env env ")
    assert started.endswith("start.sh")
    assert "readers/run.py" in read
    assert "PATH=" not in started


def test_the_environment_of_a_study_is_found_or_its_lack_is_told(environment, monkeypatch):
    monkeypatch.setenv("ALMR_EXPORT_VENVS", "/nowhere")
    stated = start.of_choice(TrainerChoice(name="axolotl", environment=str(environment)))
    assert stated.why_not is None
    words = stated.words(["run"], {"A": "1"})
    assert (*words[:2], words[-1]) == ("env", "A=1", "run")
    assert words[2].startswith(f"PATH={environment}/bin{os.pathsep}")
    lost = start.of_choice(TrainerChoice(name="axolotl", environment="/venvs/x")).why_not
    assert lost == (
        "trainer.environment: /venvs/x: there is no /venvs/x/bin/python: name the folder of a virtual environment"
    )
    nothing = start.of_choice(TrainerChoice(name="axolotl")).why_not
    assert nothing == "no environment for axolotl: set ALMR_EXPORT_VENVS, or trainer.environment in the study"


def test_a_horizon_is_a_run_of_its_own_with_the_warm_up_of_the_whole(job):
    whole = job.study.model_copy(
        update={"training": job.study.training.model_copy(update={"horizons": (64 * 8 * 16,)})}
    )
    short = one_trial.of_study(whole, job.trial, job.ingredients, 64 * 8 * 16)
    made = named.launch_plan(TrialJob(short, job.trial, job.ingredients, job.files, job.folder), "llamafactory")
    assert made.schedule == whole.training.lr_schedule(16)
    assert (made.steps, made.schedule.warmup) == (16, 4)


@pytest.mark.parametrize(
    ("name", "files", "newest"),
    [
        ("llamafactory", ["r/checkpoint-4/trainer_state.json", "r/checkpoint-12/trainer_state.json"], 12),
        ("llamafactory", ["r/checkpoint-4/trainer_state.json", "r/checkpoint-8/model.safetensors"], 4),
        ("torchtitan", ["r/checkpoint/step-5/.metadata"], 5),
        ("megatron", ["r/iter_0000010/x"], None),
        ("axolotl", [], None),
    ],
)
def test_the_newest_whole_checkpoint_is_found(tmp_path, name, files, newest):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert halfway.newest(name, tmp_path) == newest
    if name == "megatron":
        (tmp_path / "r" / halfway.TRACKER).write_text("10")
        assert halfway.newest(name, tmp_path) == 10
