"""The exported script of TRL on prepared pairs, against our own trial of the same study: the same losses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from preference_pairs import PAIRS_A_STEP, SEQUENCE, dpo_content

from analysis.launch.formats import trl
from sweep.study import Trial, study_file
from trainers import prepare
from trainers.packing.pack import LaunchText, pack, read
from trainers.trials import of_stage

pytestmark = pytest.mark.heavy
STEPS = 4


def test_the_script_has_the_losses_of_our_own_trial(tmp_path: Path, small_model: Path, cache: Path) -> None:
    content = dpo_content(tmp_path, small_model, steps=STEPS, schedule={"name": "cosine", "warmup": 0, "min_lr": 1.0})
    content["grid"] = {"almr": [0.4], "lr": [1e-3]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    study, trial = study_file.load(tmp_path / "study.yaml"), Trial(almr=0.4, lr=1e-3, seed=0)
    (tmp_path / "trial").mkdir()
    record = of_stage.run_trial(study, trial, prepare.prepare(study), tmp_path / "trial", 1)
    assert record
    lines = [json.loads(line) for line in (tmp_path / "trial" / "metrics.jsonl").read_text().splitlines()]
    ours = [line["loss"] for line in lines if "loss" in line]
    text = LaunchText(study, trial, "trl", tmp_path / "study.yaml", {})
    pack(text, tmp_path / "data", lambda phase, share: None)
    about = read(tmp_path / "data")
    assert about.rows == 2 * STEPS * PAIRS_A_STEP == sum(about.sources.values())
    history = _trained(tmp_path)
    theirs = [line["loss"] for line in history if "grad_norm" in line]
    assert theirs == pytest.approx(ours, abs=1e-5)
    last = {key: value for line in history if line["step"] == STEPS for key, value in line.items()}
    for language, loss in record.loss:
        assert last[f"eval_{language}_loss"] == pytest.approx(loss, abs=1e-5)


def _trained(folder: Path) -> list[dict[str, float]]:
    settings = {
        "data": str(folder / "data"),
        "model_init_kwargs": {"dtype": "float32"},
        "max_length": SEQUENCE,
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "max_steps": STEPS,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": PAIRS_A_STEP // 2,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "adam_beta2": 0.95,
        "weight_decay": 0.1,
        "eval_strategy": "steps",
        "eval_steps": STEPS,
        "logging_steps": 1,
        "save_steps": STEPS,
        "report_to": "none",
        "output_dir": str(folder / "out"),
    }
    (folder / "trl.yaml").write_text(yaml.safe_dump(settings))
    script = folder / "almr_trl_dpo.py"
    script.write_text(trl.text_of("almr_trl_dpo"))
    command = [sys.executable, str(script), "--config", str(folder / "trl.yaml")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    state = folder / "out" / f"checkpoint-{STEPS}" / "trainer_state.json"
    found: list[dict[str, float]] = json.loads(state.read_text())["log_history"]
    return found
