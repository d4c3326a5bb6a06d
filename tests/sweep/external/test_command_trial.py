"""A trial by a program of the user's, from its request to its record."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from samples import local_content

from sweep.controller import stopping
from sweep.external import choose
from sweep.external.command import write
from sweep.external.trial import flow
from sweep.external.trial.job import ExternalTrialError, NodeCommand
from sweep.external.trial.measuring import measure
from sweep.store.run import Run
from sweep.study import Record, Status, Study
from trainers import prepare

# It learns nothing. The first attempt dies where it is to resume, after half of its steps.
PROGRAM = """
import json, pathlib, shutil, sys
mode, asked = sys.argv[1], json.load(open(sys.argv[2]))
saved = pathlib.Path(asked["checkpoints"], "half")
if mode == "resumes" and not saved.exists():
    saved.touch()
    pathlib.Path(sys.argv[2]).write_text("{}")  # the next attempt is given its request again
    pathlib.Path(asked["answer"]).mkdir()
    sys.exit("RuntimeError: the machine went away")
if mode == "trains-in-place":
    with open(asked["model"] + "/config.json", "r+") as opened:
        if not opened.read().endswith(" "):
            opened.write(" ")
            sys.exit("and went away")
tokens = {name: of["tokens"] for name, of in asked["languages"].items()}
if mode == "ignores-almr":
    tokens = {"original": 2048, "additional": 0}
answer = {"trainer": "mine 1.0", "steps": asked["steps"], "tokens": tokens, "training_seconds": 2.0}
if mode == "diverges":
    answer |= {"steps": 3, "tokens": {"original": 384, "additional": 384}, "diverged": "loss above 99"}
elif mode == "own-losses":
    answer |= {"loss": {"original": 3.5, "additional": 4.5}}
else:
    shutil.copytree(asked["model"], "model")
    answer |= {"model": "model"}
    if mode == "leaves-no-model":
        pathlib.Path("model/config.json").write_text("{}")
pathlib.Path(asked["answer"]).write_text(json.dumps(answer))
"""


class HereOrBelow:
    """Nodes of a trial on this machine: our own programs run in this process, which has imported torch."""

    count = 1

    def run(self, command: NodeCommand) -> None:
        ours = list(command.words[1:3]) == ["-P", "-m"]
        module, arguments = (command.words[3], command.words[4:]) if ours else ("", ())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [module, *arguments])
            if module == "sweep.external.command.write":
                write.main()
            elif module == "sweep.external.trial.measuring.measure":
                measure.main()
            else:
                done = subprocess.run(command.words, capture_output=True, text=True)
                if done.returncode:
                    raise ExternalTrialError(done.stderr.strip())


def run_of(tmp_path: Path, model: Path, mode: str) -> Run:
    (tmp_path / "mine.py").write_text(PROGRAM)
    trainer = {"name": "command", "command": f"python {tmp_path}/mine.py {mode}"}
    changes: dict[str, Any] = {"trainer": trainer, "grid": {"almr": [0.5], "lr": [1e-3]}}
    study = Study.model_validate(local_content(tmp_path, model) | changes | {"tracking": {"tensorboard": False}})
    made = Run(tmp_path / "run")
    made.folder.mkdir()
    made.keep_ingredients(prepare.prepare(study))
    made.freeze(study)
    return made


def record(run: Run) -> Record:
    study = run.study()
    return flow.carry_out(run, study.grid_trials[0], choose.trainer(study), HereOrBelow())


REFUSED = {
    "ignores-almr": "it ignored the ratio",
    "leaves-no-model": "the model that it left cannot be measured: ",
    "trains-in-place": r"a trial changed config\.json of the model",
}


@pytest.mark.parametrize("mode", ["resumes", "diverges", "own-losses", *REFUSED])
def test_a_program_makes_the_record_of_its_trial(tmp_path: Path, small_model: Path, cache: Path, mode: str) -> None:
    run = run_of(tmp_path, Path(shutil.copytree(small_model, tmp_path / "given")), mode)
    if mode in REFUSED:
        with pytest.raises(ExternalTrialError, match=REFUSED[mode]) as raised:
            record(run)
        stopped = stopping.of_worker(raised.value, run.folder)
        assert bool(stopped) is (mode == "trains-in-place"), "each other trial begins with that model, another try too"
        assert str(stopping.told(stopped or {}) or raised.value) == str(raised.value)
        assert not list(run.folder.rglob("trained.json")), "another attempt trains again"
        return
    if mode == "resumes":
        with pytest.raises(ExternalTrialError, match="the machine went away"):
            record(run)
    found = record(run)
    assert found.attempt == (2 if mode == "resumes" else 1)
    assert found.trainer.name == "command"
    assert (found.trainer.version or "").startswith("mine 1.0, mine.py ")
    assert found.almr_achieved == 0.5
    assert found.base_loss.original
    if mode == "diverges":
        assert (found.status, found.reason, found.steps) == (Status.DIVERGED, "loss above 99", 3)
        assert found.loss.original is None
    elif mode == "own-losses":
        assert (found.loss.original, found.loss.additional) == (3.5, 4.5)
        assert found.bits_per_byte.original
    else:
        assert (found.status, found.loss, found.tokens_per_second) == (Status.COMPLETE, found.base_loss, 1024.0)
