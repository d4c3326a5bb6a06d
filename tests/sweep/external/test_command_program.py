"""Programs that train trials: what they are given, how they are started, and whether the check sees what they do."""

from __future__ import annotations

import contextlib
import json
import math
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command_samples import answered, asked
from one_ray import almr as run_almr
from samples import local_content, make_study

from sweep.external import outlook
from sweep.external.command import answer as answers
from sweep.external.command import points
from sweep.external.command.files import CommandFiles
from sweep.external.command.points import Tried
from sweep.external.command.request import CommandRequest
from sweep.external.command.start import run_here
from sweep.external.command.trainer import CommandTrainer
from sweep.external.command.write import write
from sweep.external.runs import one_trial, start
from sweep.external.runs.reference import evaluate
from sweep.external.runs.start import TrainerEnvironment
from sweep.external.runs.trainer_run import PreparedFiles
from sweep.external.trial.job import ExternalTrialError, NodeCommand, TrialJob
from sweep.study import Study, Trial, study_file
from sweep.study.sections.recipe.trainer import TrainerChoice
from sweep.study.sections.resources import Resources
from tests.rooms import ROOT
from trainers import prepare
from trainers.data.corpus import open_corpora
from trainers.data.mixture import BatchReader, Mixture
from trainers.trials import cpt

EXAMPLES = ROOT / "docs" / "examples"
# It learns nothing, but its losses depend on what it was asked as those of a training do.
PROGRAM = """
import json, math, pathlib, sys, time
mode, asked = sys.argv[1], json.load(open(sys.argv[2]))
almr = 0.5 if mode == "ignores-almr" else asked["almr"]
lr = 1e-3 if mode == "ignores-lr" else asked["lr"]
saved = pathlib.Path(asked["checkpoints"], "half")
if mode == "fails":
    sys.exit("ValueError: no such data")
if mode == "hangs":
    time.sleep(1000)
if mode == "removes-its-folder":
    saved.parent.rmdir()
else:
    saved.touch()
time.sleep(0.2)
answer = {
    "trainer": "mine 1.0",
    "steps": asked["steps"],
    "tokens": {name: of["tokens"] for name, of in asked["languages"].items()},
    "loss": {"original": 3 + almr + 10 * lr, "additional": 4 - almr + 10 * lr},
    "log": [{"step": i, "lr": lr} for i, lr in enumerate(asked["lr_by_step"], 1)],
}
if mode == "leaves-no-model":
    pathlib.Path("config.json").write_text("{}")
    answer |= {"model": "."}
pathlib.Path(asked["answer"]).write_text("{" if mode == "bad-json" else json.dumps(answer))
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(PROGRAM)
    return path


@dataclass
class Made:
    """A trial of the small study, and what its program was given."""

    study: Study
    trial: Trial
    ingredients: Any
    files: CommandFiles
    asked: CommandRequest


@pytest.fixture
def made(local_study: Study, tmp_path: Path) -> Made:
    ingredients = prepare.prepare(local_study)
    trial = Trial(almr=0.5, lr=1e-2, seed=0)
    study = one_trial.of_study(local_study, trial, ingredients)
    files = CommandFiles(tmp_path / "run")
    return Made(study, trial, ingredients, files, write(study, trial, ingredients, files))


def test_a_program_is_given_the_rows_of_the_trial_in_order(made: Made) -> None:
    training, corpora = made.study.training, open_corpora(made.ingredients)
    mixture = Mixture.of(0.5, 0, made.study.corpora, corpora)
    reader = BatchReader(corpora, mixture, training.batch_sequences)
    wanted = np.concatenate([batch.numpy() for batch in reader.read(range(training.steps))])
    assert (np.fromfile(made.asked.rows, "<u4").reshape(-1, made.asked.sequence_length) == wanted).all()
    numbers = np.fromfile(made.asked.row_sources, "u1")
    names = [made.asked.sources[number].name for number in numbers]
    assert names == [mixture.slot(position).source for position in range(training.blocks)]
    assert made.asked.languages["additional"].tokens == 1024
    assert made.asked.lr_by_step == tuple(1e-2 * training.schedule.over(8).share(step) for step in range(8))


def run(script: str, *arguments: str) -> None:
    """In this process, which has imported torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *arguments])
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")


def run_transformers(made: Made) -> None:
    run("transformers_trainer.py", str(made.files.request))


def run_flags(made: Made) -> None:
    """Its trainer runs in this process, with the words that the script starts it with."""
    programs, words = made.files.folder / "bin", made.files.folder / "words"
    programs.mkdir()
    shim = f'#!/bin/bash\nif [ $1 = -c ]; then exec {sys.executable} "$@"; fi\nprintf \'%s\\n\' "$@" > {words}\n'
    (programs / "python").write_text(shim)
    (programs / "python").chmod(0o755)
    command = ["bash", str(EXAMPLES / "flags.sh"), str(made.files.request)]
    subprocess.run(command, check=True, cwd=made.files.folder, env={"PATH": f"{programs}:/usr/bin:/bin"})
    script, *arguments = words.read_text().splitlines()
    assert Path(script) == EXAMPLES / "flags.py"
    with contextlib.chdir(made.files.folder):
        run("flags.py", *arguments)


@pytest.mark.parametrize("example", [run_transformers, run_flags])
def test_an_example_trains_as_our_own_trainer_does(made: Made, example: Any, tmp_path: Path) -> None:
    made.files.checkpoints.mkdir()
    example(made)
    found = answers.read(made.files.answer, made.asked)
    assert found.model
    measured = evaluate.losses(made.study, made.ingredients, found.model)
    (tmp_path / "ours").mkdir()
    ours = cpt.run_trial(made.study, made.trial, made.ingredients, tmp_path / "ours")
    assert ours
    assert measured == pytest.approx(ours.losses(), abs=2e-4)
    assert abs(measured["additional"] - (ours.base_loss.additional or 0)) > 0.1  # it has learned


@dataclass
class ThisMachine:
    """Nodes of a trial that are this machine."""

    count: int = 1

    def run(self, command: NodeCommand) -> None:
        """The program alone: `made` has written its request."""
        if not command.first_only:
            subprocess.run(command.words, check=True, capture_output=True)


def job_of(made: Made) -> TrialJob:
    files = PreparedFiles(made.files.folder / "study.yaml", made.files.folder / "ingredients.json")
    return TrialJob(made.study, made.trial, made.ingredients, files, made.files.folder)


def test_what_a_program_answers_is_the_trace_of_its_trial(made: Made, program: Path) -> None:
    own = TrainerEnvironment(sys.executable, {"SEEN": "a b"})
    trainer = CommandTrainer(("python", str(program), "sound"), own)
    found = trainer.train(job_of(made), ThisMachine())
    assert found.after == {"original": 3.6, "additional": 3.6}
    assert found.tokens == {"original": 1024, "additional": 1024}
    assert [step.lr for step in found.steps] == list(made.asked.lr_by_step)
    assert found.versions.startswith("mine 1.0, mine.py ")
    kept = made.files.checkpoints / "kept"
    kept.touch()
    assert trainer.train(job_of(made), ThisMachine()).versions == found.versions
    assert kept.exists()
    program.write_text(PROGRAM + "\n")
    assert trainer.train(job_of(made), ThisMachine()).versions != found.versions  # another program
    assert not kept.exists()
    assert "SEEN=a b" in made.files.start.read_text()


def test_a_bad_answer_fails_the_trial_and_its_checkpoints_are_not_used_again(made: Made, program: Path) -> None:
    trainer = CommandTrainer(("python", str(program), "bad-json"), TrainerEnvironment(sys.executable))
    with pytest.raises(ExternalTrialError, match=r"answer\.json is not JSON"):
        trainer.train(job_of(made), ThisMachine())
    assert not made.files.checkpoints.exists()


@pytest.mark.parametrize(
    ("mode", "fault"),
    [("fails", "ValueError: no such data"), ("hangs", "the trial hung: no heartbeat for 0.01 minutes")],
)
def test_a_program_that_fails_or_is_silent_is_a_fault(program: Path, tmp_path: Path, mode: str, fault: str) -> None:
    files = CommandFiles(tmp_path / "run")
    files.renew(("python", str(program), mode), TrainerEnvironment(sys.executable))
    files.request.write_text(asked(checkpoints=str(files.checkpoints)).model_dump_json())
    ended = run_here(files, Resources(hang_minutes=0.01), lambda seconds: None)
    assert fault in (ended.fault or "")
    assert not ended.stopped


def tried(loss: dict[str, float] | None = None, **changes: Any) -> Tried:
    content = answered(loss=loss or {"original": 3.0, "additional": 4.0}, **changes)
    return Tried(asked(), 1.0, answers.parse(content, "answer.json"), killed=True)


MOVED = {"original": 3.1, "additional": 3.9}


@pytest.mark.parametrize(
    ("other", "lower", "stopped", "fails"),
    [
        (tried(MOVED), tried(MOVED), tried(), []),
        (tried(), tried(MOVED), tried(), ["follows almr"]),
        (tried({"original": 2.9, "additional": 4.1}), tried(MOVED), tried(), ["follows almr"]),
        (tried(MOVED), tried(), tried(), ["follows lr"]),
        (tried(MOVED), tried(MOVED), tried(MOVED), ["goes on after a kill"]),
        (tried(MOVED, steps=3), tried(MOVED), tried(), ["follows almr"]),
        (tried(MOVED), Tried(asked(), 1.0, fault="it hung"), tried(), ["follows lr"]),
    ],
)
def test_a_point_fails_where_the_runs_show_that_it_does_not_hold(other, lower, stopped, fails) -> None:
    found = points.of_all(tried(), other, lower, stopped)
    assert [point.name for point in found if point.holds is False] == fails


def test_the_first_run_shows_the_rows_the_lr_and_the_losses() -> None:
    log = [{"step": 1, "loss": 5.0, "lr": 5e-4}]
    sound = tried(log=log)._replace(measured={"original": 3.0, "additional": 4.0}, first_batch=5.001)
    assert [point.holds for point in points.of_first(sound)] == [True] * 6
    other = sound._replace(measured={"original": 3.0, "additional": 4.5}, first_batch=5.2)
    fails = {point.name: point.why for point in points.of_first(other) if point.holds is False}
    assert list(fails) == ["rows in order", "held-out losses"]
    assert "train on the rows of the request, in order" in fails["rows in order"]
    assert [point.holds for point in points.of_first(tried())] == [True, True, True, None, None, None]
    assert math.isfinite(tried().seconds)


@pytest.mark.parametrize(
    ("mode", "fails"),
    [
        ("sound", []),
        ("removes-its-folder", []),
        ("ignores-almr", ["follows almr"]),
        ("leaves-no-model", ["answer"]),
    ],
)
def test_the_check_runs_a_program_of_the_study(
    tmp_path: Path, small_model: Path, cache: Path, program: Path, mode: str, fails: list[str]
) -> None:
    content = local_content(tmp_path, small_model) | {
        "trainer": {"name": "command", "command": f"python mine.py {mode}"}
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    printed = run_almr(tmp_path, "trainer", "check", "--study", str(path), "--json", status=(3 if fails else 0,))
    found = json.loads(printed)
    assert [point["name"] for point in found["points"] if point["holds"] is False] == fails
    assert found["holds"] == (not fails)
    assert bool(found["folder"]) == bool(fails)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "almr trainer check python train.py"),
        ([""], "CMD: name: command needs command"),
        (["'mine.py"], "CMD: command: 'mine.py: No closing quotation"),
        (["my program.py"], "my program.py cannot be started: name what starts it"),
    ],
)
def test_a_check_needs_a_program(tmp_path: Path, words: list[str], reason: str) -> None:
    (tmp_path / "my program.py").touch()
    with contextlib.chdir(tmp_path):
        assert reason in run_almr(tmp_path, "trainer", "check", *words, status=(2,))


def test_a_container_that_cannot_be_started_is_found(tmp_path: Path) -> None:
    choice = TrainerChoice(name="command", command=("mine",), container=("no-such-runtime", "exec"))
    assert "trainer.container: no-such-runtime: no such program" in (start.of_choice(choice).why_not or "")


def test_a_variable_that_may_be_a_secret_is_warned_of() -> None:
    variables = {"HF_TOKEN": "x", "api_key": "x", "TOKENIZERS_PARALLELISM": "false", "KEYS": "x"}
    choice = TrainerChoice(name="command", command=(sys.executable,), variables=variables)
    said = outlook.warnings(make_study().model_copy(update={"trainer": choice}))
    assert [line.split()[0] for line in said] == ["trainer.variables.HF_TOKEN", "trainer.variables.api_key"]


@pytest.mark.parametrize("name", ["-u", "A B", "A=B", ""])
def test_a_variable_has_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be set"):
        TrainerChoice(name="axolotl", variables={name: "x"})


def test_a_command_is_words_and_its_files_are_beside_the_study(
    tmp_path: Path, program: Path, small_model: Path
) -> None:
    content = local_content(tmp_path, small_model)
    path = tmp_path / "study.yaml"
    choices = []
    for command in ("python mine.py 'two words'", ["python", str(program), "two words"]):
        path.write_text(yaml.safe_dump(content | {"trainer": {"name": "command", "command": command}}))
        choices.append(study_file.load(path).trainer)
    assert choices[0] == choices[1]
    assert choices[0].command == ("python", str(program), "two words")
    moved = TrainerChoice(name="command", command=("python", "/elsewhere/mine.py", "two words"))
    assert moved.recipe() == choices[0].recipe()
    path.write_text(yaml.safe_dump(content | {"trainer": {"name": "command", "command": "python 'mine.py"}}))
    assert "No closing quotation" in run_almr(tmp_path, "plan", str(path), status=(2,))


@pytest.mark.parametrize(
    ("words", "lost"),
    [
        ("nosuchprogram x", f"nosuchprogram: no such program: {start.WRITE_PATH}"),
        ("python nosuch.py", f"nosuch.py: no such file: {start.WRITE_PATH}"),
    ],
)
def test_a_program_that_is_not_there_is_found_before_anything_is_prepared(
    tmp_path: Path, small_model: Path, words: str, lost: str
) -> None:
    changes = {
        "trainer": {"name": "command", "command": words},
        "grid": {"almr": [0.1, 0.5, 0.9], "lr": [1e-3, 2e-3, 4e-3]},
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(local_content(tmp_path, small_model) | changes))
    assert lost in run_almr(tmp_path, "trainer", "check", "--study", str(path), status=(2,))
    assert lost in run_almr(tmp_path, "run", str(path), status=(2,))
    assert not (tmp_path / "runs" / "small" / "trials").exists()
