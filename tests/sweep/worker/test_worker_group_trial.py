"""A real, small trial on the ranks of a real torchrun, without Ray: out of memory, its losses, scored later."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import bucket
import pytest
import ray
import torch

from sweep.controller.worker_group import run_worker_group
from sweep.store.run import Run
from sweep.study import Record, Status, Study, Trial
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.sections.resources import Resources
from sweep.worker import run_trial as worker
from trainers import prepare
from trainers.loop.out_of_memory import MicroBatchHalvedError, store_micro_batch, stored_micro_batch
from trainers.loop.trial_training import TrialTraining
from trainers.trials import cpt

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
# Raises torch's out of memory on every rank for more than two sequences at once; on PYTHONPATH of the ranks.
SMALL_MEMORY = """
import torch
from trainers.model.token_loss import TokenLoss
take = TokenLoss.sum
def limited(self, tokens, counted=None):
    if self.model.training and len(tokens) > 2:
        raise torch.OutOfMemoryError("injected")
    return take(self, tokens, counted)
TokenLoss.sum = limited
"""


def begun(study: Study, address: str, **changes: Any) -> tuple[Run, Study, Trial]:
    content = study.model_dump(mode="json", by_alias=True, exclude_none=True) | changes
    study, run = Study.model_validate(content), Run(address)
    run.keep_ingredients(prepare.prepare(study))
    run.freeze(study)
    return run, study, study.grid_trials[0]


@pytest.fixture
def group_trial(local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Study, Trial]:
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    return begun(local_study, str(tmp_path / "run"), resources={"processes": 2, "cpus": 1})


def alone(study: Study, trial: Trial, folder: Path) -> Record:
    folder.mkdir(parents=True)
    one = study.model_copy(update={"resources": Resources()})
    record = cpt.run_trial(one, trial, prepare.prepare(one), folder)
    assert record
    return record


def test_a_worker_group_halves_its_micro_batch_has_the_losses_of_one_worker_and_is_scored_on_request(
    group_trial: tuple[Run, Study, Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, study, trial = group_trial
    (tmp_path / "limited").mkdir()
    (tmp_path / "limited" / "sitecustomize.py").write_text(SMALL_MEMORY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "limited"))
    record = run_worker_group(run.address, trial)
    assert record == run.record(trial)
    assert (record.status, record.attempt) == (Status.COMPLETE, 1)
    assert record.provenance["execution"]["workers"] == 2
    assert record.provenance["execution"]["micro_batch_sequences"] == 2
    assert stored_micro_batch(study, run.trial_folder(trial)) == 2
    plain = alone(study, trial, tmp_path / "alone")
    assert record.loss.original == pytest.approx(plain.loss.original, rel=1e-4)
    assert record.loss.additional == pytest.approx(plain.loss.additional, rel=1e-4)

    run.freeze(study.model_copy(update={"benchmarks": Benchmarks(suite="embedded")}))
    scored = run_worker_group(run.address, trial, run.record_sha256(trial))
    assert set(scored.scores) == {"cloze_original", "cloze_additional"}
    assert not scored.score_failures
    assert scored.loss == record.loss


def test_a_worker_whose_sharded_model_ran_out_of_memory_begins_anew(
    local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, trial = begun(local_study, str(tmp_path / "run"))
    train, began, models = cpt.run_trial, [], []

    def limited(study: Study, trial: Trial, ingredients: Any, folder: Path, attempt: int) -> Record | None:
        began.append(stored_micro_batch(study, folder))
        assert not any(model() for model in models), "the model before this one is still there"
        model = torch.nn.Linear(1, 1)
        model.held_by = [model]  # in a circle, as FSDP2's modules are
        models.append(weakref.ref(model))
        if len(began) < 3:
            store_micro_batch(study, folder, 8 >> len(began))
            raise MicroBatchHalvedError(8 >> len(began))
        return train(study, trial, ingredients, folder, attempt)

    monkeypatch.setattr(cpt, "run_trial", limited)
    record = worker.work(run.address, trial)
    assert began == [None, 4, 2]
    assert record.attempt == 1
    assert record.provenance["execution"]["micro_batch_sequences"] == 2


def test_a_trial_that_was_preempted_goes_on_from_an_object_store(
    local_study: Study, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.register()
    often = {"checkpoint_minutes": 1e-9}
    run, study, trial = begun(local_study, f"bucket://{tmp_path}/kept/small", execution=often)
    run.share()

    def preempted(self: TrialTraining) -> None:
        store_micro_batch(study, tmp_path / "kept/small/trials/another", 4)
        raise RuntimeError("preempted")

    with monkeypatch.context() as patch:
        patch.setattr(TrialTraining, "_fail_missing_horizons", preempted)
        with pytest.raises(RuntimeError, match="preempted"):
            worker.work(run.address, trial)
    [index] = (tmp_path / "kept/small/trials" / trial.id).rglob("checkpoint/step-*/.metadata")
    record = worker.work(run.address, trial)
    assert (record.status, record.attempt) == (Status.COMPLETE, 2)
    assert record.provenance["execution"]["gone_on_from_steps"] == [int(index.parent.name.removeprefix("step-"))]
    assert record.provenance["execution"]["micro_batch_sequences"] == 4
    assert record.loss == alone(study, trial, tmp_path / "alone").loss
