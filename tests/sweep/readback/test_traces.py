"""What the readers make of the files that trainers leave, and of rows that a trainer read in an order of its own."""

from __future__ import annotations

import json
import sys

import datasets
import numpy as np
import pytest
import torch
from samples import local_content

from sweep.readback.parity import evaluate, on_rows, trace
from sweep.readback.parity.readers import axolotl, llamafactory, native
from sweep.readback.parity.trace import Trace
from sweep.store.run import Run
from sweep.study import Study, study_file
from sweep.study.ingredients import read_ingredients
from sweep.worker import run_trial as worker
from trainers import prepare as trainers_prepare
from trainers.data.corpus import open_corpora
from trainers.data.mixture import BatchReader, Mixture

QUESTION = {"steps": 2, "sequence_length": 4, "batch_sequences": 2}


@pytest.fixture(autouse=True)
def versions(monkeypatch):
    for reader in (llamafactory, axolotl):
        monkeypatch.setattr(reader, "version", lambda name: "0")


def write_state(folder, step, *history):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": history}))


def logged(step, loss):
    return {"step": step, "loss": loss, "learning_rate": 1e-3, "grad_norm": 0.5}


ROW, WITH_BORDER = [5, 6, 7, 8], [5, 9, 7, 8]  # 9 ends a document
TARGETS = [[6, 7, 8, -100], [9, -100, 8, -100], [6, 7, 8, -100], [6, 7, 8, -100]]


@pytest.mark.parametrize(
    ("column", "scale"),
    [({}, [4 / 3, 4 / 3]), ({"shift_labels": TARGETS}, [7 / 5, 8 / 6])],
    ids=["all targets but the last", "documents apart"],
)
def test_losses_of_llamafactory_are_given_over_the_predicted_tokens(tmp_path, column, scale):
    rows = {"input_ids": [ROW, WITH_BORDER, ROW, ROW]} | column
    held_out = datasets.Dataset.from_dict({"input_ids": [ROW]})
    packed = datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows), "validation_original": held_out})
    packed.save_to_disk(str(tmp_path / "launch" / "data" / "tokenized"))
    (tmp_path / "launch" / "data" / "blocks.json").write_text(json.dumps({"before": [], "after": [9]}))
    out = tmp_path / "checkpoints" / "out"
    before = {"step": 0, "eval_validation_original_loss": 3.0, "eval_runtime": 1.0}
    write_state(out, 2, before, logged(1, 5.0), logged(2, 4.0), {"step": 2, "train_loss": 4.5})
    (out / "config.json").write_text("{}")
    found = Trace.model_validate(llamafactory.read(tmp_path / "launch", tmp_path / "checkpoints", QUESTION))
    assert [one.loss for one in found.steps] == pytest.approx([5.0 * scale[0], 4.0 * scale[1]])
    assert [one.grad_norm for one in found.steps] == pytest.approx([0.5 * scale[0], 0.5 * scale[1]])
    assert found.before == pytest.approx({"original": 4.0})
    assert found.model == str(out)


def test_the_newest_state_of_axolotl_counts(tmp_path):
    out = tmp_path / "out"
    write_state(out / "checkpoint-1", 1, logged(1, 9.0))
    write_state(out / "checkpoint-2", 2, {"step": 0, "eval_original_loss": 3.5}, logged(1, 5.0), logged(2, 4.0))
    found = Trace.model_validate(axolotl.read(tmp_path, tmp_path, QUESTION))
    assert [(one.step, one.loss, one.lr) for one in found.steps] == [(1, 5.0, 1e-3), (2, 4.0, 1e-3)]
    assert found.before == {"original": 3.5}


@pytest.fixture
def finished(tmp_path, small_model, cache):
    """The run directory of a study of one trial, of 33 tokens a sequence and every step logged."""
    content = local_content(tmp_path, small_model) | {"grid": {"almr": [0.5], "lr": [1e-2]}, "keep": "all"}
    content["training"] = {"sequence_length": 33, "tokens": 33 * 8 * 6, "global_batch_tokens": 33 * 8, "log_every": 1}
    study, run = Study.model_validate(content), Run(tmp_path / "checkpoints" / "run")
    run.folder.mkdir(parents=True)
    run.keep_ingredients(trainers_prepare.prepare(study))
    run.freeze(study)
    [trial] = study.grid_trials
    worker.carry_out(run, study, trial, run.start(trial, study))
    return content, study, run, trial


def test_our_own_trainer_is_read_from_its_run_directory(finished, tmp_path):
    _, _, run, trial = finished
    found = Trace.model_validate(native.read(tmp_path, tmp_path / "checkpoints", QUESTION))
    record = run.record(trial)
    assert [one.step for one in found.steps] == [1, 2, 3, 4, 5, 6]
    assert found.after == {"original": record.loss.original, "additional": record.loss.additional}
    assert found.before == {"original": record.base_loss.original, "additional": record.base_loss.additional}
    assert found.tokens == {"original": 33 * 24, "additional": 33 * 24}
    assert (run.trial_folder(trial) / "model" / "config.json").samefile(f"{found.model}/config.json")


def of_base(study, folder):
    ingredients = read_ingredients(folder / "ingredients.json")
    return evaluate.losses(study, ingredients, ingredients.base_model)


def test_training_on_given_rows_is_our_own_training(finished, tmp_path, monkeypatch, capsys):
    """Rows of 33 tokens, as they come from a trainer that reads L + 1, are the blocks of a study with 33."""
    content, study, run, trial = finished
    corpora = open_corpora(run.ingredients())
    mixture = Mixture.of(trial.almr, trial.seed, study.corpora, corpora)
    rows = torch.cat(list(BatchReader(corpora, mixture, 8).read(range(6))))
    rows.numpy().astype(np.uint32).tofile(tmp_path / "rows.bin")
    content["training"] |= {"sequence_length": 32, "tokens": 32 * 8 * 6, "global_batch_tokens": 32 * 8}
    shorter = Study.model_validate(content)
    (tmp_path / "study.yaml").write_text(study_file.dump(shorter))
    (tmp_path / "ingredients.json").write_text(trainers_prepare.prepare(shorter).model_dump_json())
    files = [str(tmp_path / name) for name in ("study.yaml", "ingredients.json", "rows.bin")]
    monkeypatch.setattr(sys, "argv", ["on_rows", *files])
    on_rows.main()
    found = Trace.model_validate_json(capsys.readouterr().out.strip().splitlines()[-1])
    right = trace.of_trial(run.trial_folder(trial), run.record(trial))
    assert [one.loss for one in found.steps] == pytest.approx([one.loss for one in right.steps], abs=1e-5)
    assert [one.lr for one in found.steps] == [one.lr for one in right.steps]
    assert found.before == pytest.approx(of_base(shorter, tmp_path), abs=1e-6)
    assert found.before != found.after
