"""What the readers make of the files that trainers leave, and of rows that a trainer read in an order of its own."""

from __future__ import annotations

import json
import sys

import bowl_run
import datasets
import numpy as np
import pytest
import torch
from samples import local_content

from sweep.external.parity import on_rows
from sweep.external.runs import trace, trainer_run
from sweep.external.runs.readers import axolotl, llamafactory, native
from sweep.external.runs.reference import evaluate, read_text
from sweep.external.runs.trace import LoggedStep, TextRead, Trace
from sweep.store.run import Run
from sweep.study import Study, study_file
from sweep.study.ingredients import read_ingredients
from sweep.worker import run_trial as worker
from trainers import prepare as trainers_prepare
from trainers.data.corpus import open_corpora
from trainers.data.mixture import BatchReader, Mixture
from trainers.packing.blocks import LaunchBlocks
from trainers.packing.pack import WRITERS

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


def test_text_without_borders_is_read_where_no_document_is_masked(tmp_path):
    packed = datasets.DatasetDict({"train": datasets.Dataset.from_dict({"input_ids": [ROW] * 4})})
    packed.save_to_disk(str(tmp_path / "data" / "tokenized"))
    (tmp_path / "data" / "blocks.json").write_text(json.dumps({"before": [], "after": []}))
    out = tmp_path / "checkpoints" / "out"
    write_state(out, 1, logged(1, 3.0))
    (out / "config.json").write_text("{}")
    found = Trace.model_validate(llamafactory.read(tmp_path, tmp_path / "checkpoints", QUESTION))
    assert [one.loss for one in found.steps] == pytest.approx([4.0])


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


def read(name, data, finished, streams, monkeypatch, capsys):
    """What `read_text` says of packed text."""
    _, study, run, _ = finished
    (run.folder / "study-read.yaml").write_text(study_file.dump(study))
    files = [str(run.folder / "study-read.yaml"), str(run.folder / "ingredients.json")]
    monkeypatch.setattr(sys, "argv", ["read_text", *files, name, str(data), json.dumps(streams)])
    read_text.main()
    return TextRead.model_validate_json(capsys.readouterr().out.strip().splitlines()[-1])


def run_rows(finished):
    """The rows of the run, in its order."""
    _, study, run, trial = finished
    corpora = open_corpora(run.ingredients())
    mixture = Mixture.of(trial.almr, trial.seed, study.corpora, corpora)
    return torch.cat(list(BatchReader(corpora, mixture, 8).read(range(6)))).numpy()


def pack(name, rows, folder):
    folder.mkdir(parents=True)
    if name == "torchtitan":
        rows.astype("<u4").tofile(folder / "train.bin")
    else:
        place = folder / {"axolotl": "train", "llamafactory": "tokenized/train"}[name]
        datasets.Dataset.from_dict({"input_ids": rows.tolist()}).save_to_disk(str(place))


def pack_really(name, finished, folder):
    _, study, run, trial = finished
    folder.mkdir()
    WRITERS[name].write(LaunchBlocks.of(study, trial, run.ingredients()), folder, lambda rows: None)


@pytest.mark.parametrize("name", ["torchtitan", "axolotl", "llamafactory"])
def test_packed_rows_are_counted_where_they_are_the_trials_own(finished, tmp_path, monkeypatch, capsys, name):
    rows = run_rows(finished)
    pack_really(name, finished, tmp_path / "right")
    found = read(name, tmp_path / "right", finished, {}, monkeypatch, capsys)
    assert found == TextRead(batches=({"original": 4, "additional": 4},) * 6, foreign=0)
    other = rows.copy()
    other[8], other[9, -1] = rows[10], rows[9, -1] + 1
    pack(name, other[:40], tmp_path / "wrong")
    found = read(name, tmp_path / "wrong", finished, {}, monkeypatch, capsys)
    assert (found.foreign, [sum(batch.values()) for batch in found.batches]) == (10, [8, 6, 8, 8, 8, 0])


def test_a_stream_of_another_source_or_with_other_tokens_is_found(finished, tmp_path, monkeypatch, capsys):
    pack_really("megatron", finished, tmp_path / "data")
    streams = {name: str(tmp_path / "data" / f"train_{name}.bin") for name in ("original", "additional")}

    def foreign(of):
        return read("megatron", tmp_path, finished, of, monkeypatch, capsys).foreign

    assert foreign(streams) == 0
    swapped = dict(zip(streams, reversed(streams.values()), strict=True))
    assert foreign(swapped) > 100
    for change, apart in ((lambda tokens: tokens[:-3], 3), (lambda tokens: np.append(tokens, [1, 2]), 2)):
        change(np.fromfile(streams["original"], "<i4")).astype("<i4").tofile(tmp_path / "other.bin")
        assert foreign(streams | {"original": str(tmp_path / "other.bin")}) == apart


def test_what_was_read_is_counted_by_language():
    content = bowl_run.study().model_dump(mode="json", by_alias=True)
    parts = [{"name": name, "files": [f"{name}.jsonl"], "weight": weight} for name, weight in (("a", 3), ("b", 1))]
    content["corpora"]["additional"] = parts
    study = Study.model_validate(content)
    batch, length = {"original": 1, "a": 2, "b": 1}, study.training.sequence_length
    logged_steps = tuple(LoggedStep(step=n, loss=1.0) for n in (1, 2))
    found = Trace(steps=logged_steps, before={"original": 3.0, "a": 4.0, "b": 8.0}, batches=(batch,) * 3)
    counted = trainer_run.counted(found, TextRead(foreign=0), study)
    assert counted.tokens == {"original": 2 * length, "additional": 6 * length}
    assert counted.batches == ({"original": 1, "additional": 3},) * 3
    assert counted.before == pytest.approx({"original": 3.0, "additional": 5.0, "a": 4.0, "b": 8.0})
    assert trainer_run.counted(Trace(steps=logged_steps), TextRead(foreign=0), study).tokens == {}
