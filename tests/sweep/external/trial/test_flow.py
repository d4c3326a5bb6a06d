"""From a trial's request to its record: what another trainer left is checked, and measured as our own trials are."""

from __future__ import annotations

import importlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from samples import local_content

from analysis.launch.plan.schedule import taken
from sweep.external.runs.trace import LoggedStep, Trace
from sweep.external.trial import finalist, flow
from sweep.external.trial.job import ExternalTrialError, TrialJob
from sweep.store.run import Run
from sweep.study import Record, Status, Study
from sweep.worker import run_trial
from sweep.worker.group.monitor import WorkerGroupError
from trainers import prepare

HORIZON = 1024


class ThisProcess:
    """Nodes on which the measurement runs in this process: torch is there already."""

    count = 1

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch

    def run(self, command: Any) -> None:
        assert list(command.words[1:3]) == ["-P", "-m"]
        assert command.first_only
        self.patch.setattr("sys.argv", command.words[3:])
        importlib.import_module(command.words[3]).main()


class FakeTrainer:
    """Trains nothing: it leaves this model, and a log as the trial asks, with `changes`."""

    def __init__(self, left: Path, **changes: Any) -> None:
        self.left, self.changes, self.jobs = left, changes, []

    def train(self, job: TrialJob, nodes: Any) -> Trace:
        self.jobs.append(job)
        training, almr = job.study.training, job.trial.almr
        shares = taken(training.lr_schedule(training.steps), job.study.trainer.name)
        steps = [
            LoggedStep(step=n, loss=3.0, lr=job.trial.lr * shares.share(n - 1), grad_norm=1.0)
            for n in range(1, job.steps + 1)
        ]
        read = {"original": round(training.tokens * (1 - almr)), "additional": round(training.tokens * almr)}
        told = {"steps": tuple(steps), "tokens": read, "model": str(self.left), "versions": "Fake 1.0, torch 3"}
        return Trace(**told | {"training_seconds": 4.0, "peak_memory_bytes": 123} | self.changes)


@pytest.fixture
def study(tmp_path, small_model, cache) -> Study:
    content = local_content(tmp_path, small_model) | {"trainer": "axolotl", "grid": {"almr": [0.5], "lr": [1e-3]}}
    return Study.model_validate(content | {"keep": "best", "tracking": {"tensorboard": False}})


@pytest.fixture
def run(tmp_path, study) -> Run:
    made = Run(tmp_path / "run")
    made.folder.mkdir()
    made.keep_ingredients(prepare.prepare(study))
    made.freeze(study)
    return made


def record(run: Run, trainer: FakeTrainer) -> Record:
    with pytest.MonkeyPatch.context() as patch:
        return flow.carry_out(run, run.study().grid_trials[0], trainer, ThisProcess(patch))


def test_the_record_is_the_one_of_our_own_trials(run, study, small_model):
    """The base model that was not trained has the base model's losses; a trial of ours has the same of it."""
    [trial] = study.grid_trials
    trainer = FakeTrainer(small_model)
    found = record(run, trainer)
    assert found == run.record(trial)
    assert found.loss == found.base_loss
    assert found.bits_per_byte == found.base_bits_per_byte
    assert (found.trainer.name, found.trainer.version) == ("axolotl", "Fake 1.0, torch 3")
    assert (found.steps, found.tokens, found.trained_tokens, found.almr_achieved) == (8, 2048, 2048, 0.5)
    assert (found.training_seconds, found.tokens_per_second, found.peak_memory_bytes) == (4.0, 512.0, 123)
    assert (found.mfu, found.status, found.reason, found.attempt) == (None, Status.COMPLETE, None, 1)
    assert (run.files.trial(trial.id).model / "model.safetensors").is_file()
    assert not (run.trial_folder(trial) / "trainer").exists()
    lines = [json.loads(line) for line in run.files.trial(trial.id).metrics.read_text().splitlines()]
    assert [line.get("step") for line in lines] == [0, 1, 8, 8]
    assert lines[1] == {"step": 1, "loss": 3.0, "lr": 5e-4, "grad_norm": 1.0, "tokens": 256}
    assert lines[-1]["held_out"] == found.loss.model_dump()
    own = Study.model_validate(study.model_dump(mode="json", by_alias=True) | {"trainer": "native"})
    native = Run(run.folder.with_name("native"))
    native.folder.mkdir()
    native.keep_ingredients(run.ingredients())
    native.freeze(own)
    other = run_trial.work(str(native.folder), trial)
    assert other.base_loss == found.base_loss
    assert (other.epochs, other.almr_achieved) == (found.epochs, found.almr_achieved)
    assert other.fingerprint != found.fingerprint, "records of two trainers are of two recipes"
    unknown = {"mfu", "seconds", "gpu_hours", "score_failures", "scores", "horizons", "sources", "proposed", "reason"}
    assert {name for name, value in found if value is None} - unknown == {
        name for name, value in other if value is None
    } - unknown


FAULTS = {
    "ratio": ({"tokens": {"original": 2048, "additional": 0}}, "it read 2,048 tokens of the original language, but ALMR"
    " 0.50 asks for 1,024: its ALMR was 0.00"),
    "no tokens": ({"tokens": {}}, "it does not tell the tokens that it read of each language"),
    "other text": ({"foreign": 3}, "it read text that is not the trial's: 3 of its rows or tokens"),
    "LR": ({"steps": tuple(LoggedStep(step=n, lr=1e-3) for n in range(1, 9))},
    "its LR at step 1 was 0.001, but the trial's schedule has 0.0005"),
    "steps": ({"steps": (LoggedStep(step=1, loss=3.0),)}, "its log ends at step 1 of 8"),
    "model": ({"before": {"original": 9.0}}, "its held-out loss of original before training was 9.0000, ours"),
    "nothing": ({"model": None}, "it left neither a model nor a held-out loss of each language"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_trainer_that_does_not_train_as_asked_is_refused(run, study, small_model, name):
    changes, reason = FAULTS[name]
    with pytest.raises(ExternalTrialError) as error:
        record(run, FakeTrainer(small_model, **changes))
    assert str(error.value).startswith(reason)
    [trial] = study.grid_trials
    assert run.record(trial) is None
    assert not (run.trial_folder(trial) / "trainer").exists(), "it is trained anew when it is tried again"
    assert run.log(trial).read_text().splitlines()[-1].startswith(f"failed: {reason}")


def test_a_loss_or_gradient_that_is_not_finite_is_divergence(run, small_model):
    steps = tuple(LoggedStep(step=n, loss=3.0, grad_norm=math.nan if n > 2 else 1.0) for n in range(1, 6))
    found = record(run, FakeTrainer(small_model, steps=steps))
    assert (found.status, found.steps) == (Status.DIVERGED, 5)
    assert found.reason == "the training loss or its gradient is not finite at step 3"


def test_a_trainer_that_stopped_has_a_record_of_what_is_known(run, small_model):
    left = {"model": None, "steps": (), "tokens": {}, "training_seconds": None}
    found = record(run, FakeTrainer(small_model, diverged="axolotl stopped: RuntimeError: nan", **left))
    assert (found.status, found.reason) == (Status.DIVERGED, "axolotl stopped: RuntimeError: nan")
    assert (found.steps, found.tokens, found.loss.original) == (None, None, None)
    assert found.base_loss.original


@pytest.mark.parametrize("saved", [True, False])
def test_a_finalist_is_scored_from_its_model_or_trained_again(run, study, small_model, saved, monkeypatch):
    trainer, [trial] = FakeTrainer(small_model), study.grid_trials
    done = record(run, trainer)
    benchmarks = {"suite": "embedded", "when": "finalists", "finalists": 1}
    content = study.model_dump(mode="json", by_alias=True) | {"benchmarks": benchmarks}
    run.freeze(Study.model_validate(content))
    assert run_trial.is_finalist(run, run.study(), trial)
    if not saved:
        shutil.rmtree(run.files.trial(trial.id).model)
    found = finalist.score(run, trial, trainer, ThisProcess(monkeypatch))
    assert len(trainer.jobs) == (1 if saved else 2)
    assert found == run.record(trial)
    assert found.scores.keys() == {"cloze_original", "cloze_additional"}
    assert found.model_copy(update={"scores": {}, "provenance": {}}) == done.model_copy(update={"provenance": {}})
    assert run.files.trial(trial.id).questions.is_file()
    assert not list(run.files.trials.glob(".again*"))


def test_what_the_trainer_measured_itself_is_taken_where_it_leaves_no_model(run, small_model):
    losses = {"original": 2.5, "additional": 9.0}
    found = record(run, FakeTrainer(small_model, model=None, after=losses, training_seconds=None))
    assert found.loss.model_dump() == losses
    assert found.status is Status.DIVERGED
    assert "nats above the base model at step 8 (margin 1.0)" in found.reason
    assert (found.training_seconds, found.tokens_per_second, found.provenance["parameters"]) == (None, None, None)


def test_horizons_are_runs_of_their_own_and_an_attempt_goes_on_with_what_is_finished(run, study, small_model):
    training = study.training.model_dump(mode="json") | {"horizons": [HORIZON], "schedule": {"name": "wsd"}}
    study = Study.model_validate(study.model_dump(mode="json", by_alias=True) | {"training": training})
    assert study.trained_tokens == 2048 + HORIZON
    run = Run(run.folder.with_name("horizons"))
    run.folder.mkdir()
    run.keep_ingredients(prepare.prepare(study))
    run.freeze(study)
    broken = FakeTrainer(small_model)
    broken.train = lambda job, nodes, whole=broken.train: whole(job, nodes) if job.steps == 4 else _lost()
    with pytest.raises(WorkerGroupError):
        record(run, broken)
    trainer = FakeTrainer(small_model, versions="Fake 1.1")
    found = record(run, trainer)
    assert found.trainer.version == "Fake 1.0, torch 3 and Fake 1.1"
    assert [job.steps for job in broken.jobs + trainer.jobs] == [4, 8]
    [horizon] = found.horizons
    assert (horizon.tokens, horizon.steps, horizon.loss) == (HORIZON, 4, found.loss)
    assert (found.trained_tokens, found.attempt) == (2048 + HORIZON, 2)


def _lost() -> Trace:
    raise WorkerGroupError("node 1 of the trial was lost")


def test_another_trainer_is_another_recipe_and_its_environment_is_none(study):
    def fingerprint(**trainer: Any) -> str:
        return Study.model_validate(study.model_dump(mode="json", by_alias=True) | {"trainer": trainer}).fingerprint

    assert len({fingerprint(name=name) for name in ("native", "axolotl", "megatron")}) == 3
    assert fingerprint(name="axolotl", environment="/a") == fingerprint(name="axolotl", environment="/b")
