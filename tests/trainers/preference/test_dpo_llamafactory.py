"""LLaMA-Factory's own DPO trainer on the bundle of a trial, against the trial: the same losses."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pytest
import torch
import yaml
from preference_pairs import PAIRS_A_STEP, SEQUENCE, dpo_content
from transformers import AutoModelForCausalLM

from analysis.launch import bundle
from sweep.external.read_back import verify
from sweep.external.runs import plan, start
from sweep.study import Record, Study, Trial, study_file
from trainers import prepare
from trainers.packing.pack import LaunchText, pack, read
from trainers.preference import prepared
from trainers.preference.exported import LaunchPairs
from trainers.trials import of_stage

NAME = "llamafactory"
STEPS, TRIAL = 4, Trial(almr=0.4, lr=1e-3, seed=0)
HELD_OUT = 7  # pairs: no whole batches of two
ON_CPU = Path(__file__).parents[2] / "exports" / "cpu" / NAME


class Packed(NamedTuple):
    study: Study
    folder: Path  # of the bundle's format
    made: Any  # the ingredients


@pytest.fixture
def model_in_bfloat16(small_model: Path, tmp_path: Path) -> Path:
    """As large models are stored: a reference that is loaded as it is stored would be another model than ours."""
    folder = shutil.copytree(small_model, tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(small_model, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def packed(tmp_path: Path, model_in_bfloat16: Path, cache: Path) -> Packed:
    """The bundle of a trial, with its pairs."""
    schedule = {"name": "cosine", "warmup": 0.5, "min_lr": 0.1}
    content = dpo_content(
        tmp_path, model_in_bfloat16, steps=STEPS, schedule=schedule, evaluation_tokens=2 * HELD_OUT * SEQUENCE
    )
    content["grid"] = {"almr": [TRIAL.almr], "lr": [TRIAL.lr]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    study = study_file.load(tmp_path / "study.yaml")
    made, folder = prepare.prepare(study), tmp_path / NAME
    launch = plan.of_study(study, TRIAL, NAME, made.corpora)
    bundle.write(launch, NAME, folder)
    launched = study_file.load(folder / "study.yaml")
    text = LaunchText(launched, launched.grid_trials[0], NAME, folder / "study.yaml", {})
    pack(text, folder / "data", lambda phase, share: None)
    return Packed(study, folder, made)


def test_its_tables_have_the_pairs_of_the_trial_in_their_order(packed: Packed) -> None:
    about, tables = read(packed.folder / "data"), datasets.load_from_disk(str(packed.folder / "data" / "tokenized"))
    assert about.rows == 2 * STEPS * PAIRS_A_STEP == 2 * len(tables["train"])
    assert {part: len(rows) for part, rows in tables.items()} == {
        "train": STEPS * PAIRS_A_STEP,
        "validation_original": HELD_OUT,
        "validation_additional": HELD_OUT,
    }
    pairs = LaunchPairs.of(packed.study, TRIAL, packed.made)
    for pair, row in zip(prepared.in_order(pairs.order, pairs.corpora), tables["train"], strict=True):
        for answer in ("chosen", "rejected"):
            ids = pair[f"{answer}_ids"]
            assert row[f"{answer}_input_ids"] == pair["prompt_ids"] + ids
            assert row[f"{answer}_labels"] == [-100] * len(pair["prompt_ids"]) + ids
            assert row[f"{answer}_attention_mask"] == [1] * len(row[f"{answer}_labels"])


def test_its_reference_is_loaded_in_float32_and_the_base_model_stays(packed: Packed) -> None:
    base, own = (Path(of) / "config.json" for of in (packed.made.base_model, packed.folder / "data" / "model"))
    types = [{key: value for key, value in json.loads(of.read_text()).items() if "dtype" in key} for of in (base, own)]
    assert types == [{"dtype": "bfloat16"}, {"dtype": "float32"}]


@pytest.mark.exports
def test_its_own_parser_reads_the_trials_numbers(packed: Packed) -> None:
    launch = plan.of_study(packed.study, TRIAL, NAME, packed.made.corpora)
    found = verify.verify(launch, packed.folder, NAME, _environment().python)
    assert found.differences == (), found.text


@pytest.mark.exports
def test_it_has_the_losses_of_our_own_trial(packed: Packed, tmp_path: Path) -> None:
    environment = _environment()
    (tmp_path / "trial").mkdir()
    record = of_stage.run_trial(packed.study, TRIAL, packed.made, tmp_path / "trial", 1)
    assert record
    lines = [json.loads(line) for line in (tmp_path / "trial" / "metrics.jsonl").read_text().splitlines()]
    ours = [line for line in lines if "loss" in line]
    history = _trained(packed.folder, environment)
    theirs = [line for line in history if "grad_norm" in line]
    for name, of_ours in (("loss", "loss"), ("learning_rate", "lr")):
        assert [one[name] for one in theirs] == pytest.approx([one[of_ours] for one in ours], abs=1e-5, rel=1e-5)
    assert [one["grad_norm"] for one in theirs] == pytest.approx([one["grad_norm"] for one in ours], rel=1e-3)
    assert ours[-1]["loss"] < math.log(2) - 0.01, "four steps change nothing, so that they compare nothing"
    _compare_held_out(history, record)


def _compare_held_out(history: list[dict[str, float]], record: Record) -> None:
    measured = [line for line in history if "eval_original_loss" in line or "eval_additional_loss" in line]
    first = {key: value for line in measured if line["step"] == 0 for key, value in line.items()}
    last = {key: value for line in measured if line["step"] == STEPS for key, value in line.items()}
    for language, loss in record.loss:
        assert first[f"eval_{language}_loss"] == pytest.approx(math.log(2), abs=1e-6)
        assert last[f"eval_{language}_loss"] == pytest.approx(loss, abs=1e-5)


def _environment() -> start.TrainerEnvironment:
    found = start.environment(NAME)
    if found.why_not:
        pytest.skip(found.why_not)
    return found


def _trained(folder: Path, environment: start.TrainerEnvironment) -> list[dict[str, float]]:
    """What start.sh of the bundle leaves in its log."""
    out = folder / "out"
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ON_CPU), "ALMR_CHECKPOINTS": str(out), "HF_HUB_OFFLINE": "1"}
    variables = os.environ | environment.all_variables | own
    command = ["bash", str(folder / "start.sh")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stderr[-3000:]
    [state] = out.glob(f"*/checkpoint-{STEPS}/trainer_state.json")
    found: list[dict[str, float]] = json.loads(state.read_text())["log_history"]
    return found
