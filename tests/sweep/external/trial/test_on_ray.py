"""A trial by another trainer on two nodes of a Ray cluster: one of them fails, and the next attempt goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from samples import make_study
from stand_in_run import with_stand_ins

from sweep.trials.queue import GridQueue

pytestmark = [pytest.mark.slow, pytest.mark.ray]

FAKE = Path(__file__).with_name("fake_trainer.py")
# In place of what measures: the trainer is a stand-in as well, and leaves no model.
MEASURE = """
import sys
from pathlib import Path
from sweep.external.trial.measuring.measured import MeasureAnswer, MeasureRequest
from sweep.study import Record
from sweep.study.record import PerLanguage, TrainerUsed
asked = MeasureRequest.model_validate_json(Path(sys.argv[1]).read_text())
[run] = asked.runs
own = dict(trial_id=asked.trial.id, fingerprint="f", status="complete", attempt=asked.attempt)
told = dict(steps=len(run.trace.steps), provenance={"from": run.trace.resumed_from})
told["loss"] = PerLanguage(original=3.0, additional=4.0)
made = Record(**asked.trial.model_dump(), **own, **told, trainer=TrainerUsed(name=asked.name, version="1"))
Path(sys.argv[2]).write_text(MeasureAnswer(record=made).model_dump_json())
"""
# In place of `almr`, of which it calls `pack`.
CLI = f"""
import os, sys
def main():
    os.execv(sys.executable, [sys.executable, "-S", "{FAKE}", "almr", *sys.argv[1:]])
"""


def environment(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    for name in ("torchrun", "python", "llamafactory-cli"):
        program = folder / "bin" / name
        program.write_text(f'#!/bin/bash\nexec {sys.executable} -S {FAKE} {name} "$@"\n')
        program.chmod(0o755)
    return folder


HUNG = (
    "worker ended: the trial hung: no heartbeat for 0.3 minutes (resources.hang_minutes), and its process was stopped"
)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("fails there", "failed: RuntimeError: the network of node 1 is down"),
        pytest.param("stops", HUNG, marks=pytest.mark.heavy),
    ],
)
def test_a_node_fails_or_its_process_is_stopped_and_the_next_attempt_goes_on_from_the_checkpoint(
    fault, said, shared_ray, tmp_path, monkeypatch
):
    from sweep import controller

    place = environment(tmp_path / "venv")
    study = make_study(
        grid={"almr": [0.5], "lr": [1e-3]},
        resources={"nodes": 2, "retries": 1, "hang_minutes": 0.3 if fault == "stops" else 30},
        trainer={"name": "llamafactory", "environment": str(place), "variables": {"FAKE": fault}},
    )
    monkeypatch.setattr("sweep.external.runs.start.version", lambda found, name: "1.0")
    replaced = {"sweep/external/trial/measuring/measure.py": MEASURE, "sweep/cli.py": CLI}
    run = with_stand_ins(tmp_path / "run", study, replaced)
    controller.run_trials(
        study, run, lambda at_once: GridQueue(study, run, study.grid_trials, at_once), lambda trial, record: None
    )
    [trial] = study.grid_trials
    record = run.record(trial)
    assert record
    assert (record.status.value, record.attempt, record.steps) == ("complete", 2, 8), record.reason
    assert record.trainer.name == "llamafactory"
    assert record.provenance["from"], "it resumed"
    log = run.log(trial).read_text().splitlines()
    assert said in log
    assert [line for line in log if line.startswith("---")] == ["--- attempt 1", "--- attempt 2"]
    assert run.log(trial, 1).read_text().count("node 1 of 2") == 2
