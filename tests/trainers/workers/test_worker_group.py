"""Two workers on CPUs train to what one worker does; one reads what two have saved, and the other way round."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import local_content
from transformers import AutoModelForCausalLM, AutoTokenizer

from sweep.study import Record, Study, Trial, study_file
from trainers import prepare
from trainers.loop.checkpoint import Checkpoints
from trainers.loop.out_of_memory import stored_micro_batch
from trainers.trials import cpt

pytestmark = pytest.mark.slow
TRIAL = Trial(almr=0.3, lr=1e-2, seed=0)
TWO_WORKERS = {"processes": 2, "cpus": 1}
WSD = {"schedule": {"name": "wsd", "warmup": 0.25, "decay": 0.5}, "horizons": [1024], "document_masking": True}


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> Callable[..., Study]:
    content = local_content(tmp_path_factory.mktemp("text"), small_model)

    def made(training: dict[str, Any], **more: Any) -> Study:
        recipe = content["training"] | {"log_every": 1} | training
        return Study.model_validate(content | {"training": recipe} | more)

    return made


@pytest.fixture(scope="module")
def alone(make: Callable[..., Study], runs: Path) -> dict[str, Record]:
    """The same trials in this process."""
    studies = {"plain": make(WSD), "bfloat16": bfloat16(make)}
    return {name: run(study, runs / "alone" / name) for name, study in studies.items()}


def bfloat16(make: Callable[..., Study], **more: Any) -> Study:
    return make({"precision": "bfloat16", "optimizer": {"state": "bfloat16"}}, **more)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    os.environ["ALMR_CACHE"] = str(folder / "cache")
    return folder


def run(study: Study, folder: Path) -> Record:
    folder.mkdir(parents=True, exist_ok=True)
    record = cpt.run_trial(study, TRIAL, prepare.prepare(study), folder)
    assert record
    return record


def stopped(study: Study, folder: Path, after: int) -> None:
    """Run a trial in this process until it has saved so many checkpoints."""
    save, saved = Checkpoints.save, []

    def stopping(self: Checkpoints, *arguments: Any) -> None:
        save(self, *arguments)
        saved.append(self)
        if len(saved) == after:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(study, folder)


@pytest.fixture(scope="module")
def group(make: Callable[..., Study], runs: Path) -> Path:
    """Trials by two workers, one after the other in the same two processes; the folder of their folders."""
    often = {"checkpoint_minutes": 1e-9}
    fitted = {"activation_checkpointing": "full", "reshard_after_forward": False}
    studies: dict[str, tuple[Study, dict[str, Any]]] = {
        "plain": (make(WSD, resources=TWO_WORKERS, keep="all", execution=fitted), {}),
        "bfloat16": (bfloat16(make, resources=TWO_WORKERS), {}),
        "scored": (make(WSD, resources=TWO_WORKERS, benchmarks={"suite": "embedded"}), {}),
        "stopped": (make(WSD, resources=TWO_WORKERS, execution=often), {"stop_after": 5}),
        "taken over": (make(WSD, resources=TWO_WORKERS, execution=often), {}),
        "out of memory": (make(WSD, resources=TWO_WORKERS), {"out_of_memory": True}),
    }
    plan = []
    for name, (study, more) in studies.items():
        folder = runs / "group" / name.replace(" ", "-") / "trial"
        folder.mkdir(parents=True)
        (folder / "study.yaml").write_text(study_file.dump(study))
        (folder / "ingredients.json").write_text(prepare.prepare(study).model_dump_json())
        paths = {"study": str(folder / "study.yaml"), "ingredients": str(folder / "ingredients.json")}
        plan.append({"folder": str(folder), "trial": TRIAL.model_dump(), "port": free_port(), **paths, **more})
    stopped(make(WSD, execution=often), runs / "group" / "taken-over" / "trial", after=3)
    (runs / "plan.json").write_text(json.dumps(plan))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=localhost:0",
    ]
    command += [str(Path(__file__).with_name("group_worker.py")), str(runs / "plan.json")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return runs / "group"


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


def recorded(group: Path, name: str) -> Record:
    return Record.model_validate_json((group / name / "trial" / "record.json").read_text())


def held(group: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads((group / name / "trial" / f"held-{rank}.json").read_text()) for rank in (0, 1)]


def curve(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def assert_same(one: Record, other: Record, tolerance: float) -> None:
    for language in ("original", "additional"):
        assert getattr(one.loss, language) == pytest.approx(getattr(other.loss, language), abs=tolerance)
        assert getattr(one.base_loss, language) == pytest.approx(getattr(other.base_loss, language), abs=tolerance)


@pytest.mark.parametrize(("name", "tolerance"), [("plain", 1e-4), ("bfloat16", 0.05)])
def test_two_workers_train_to_what_one_does(
    group: Path, alone: dict[str, Record], runs: Path, name: str, tolerance: float
) -> None:
    record = recorded(group, name)
    assert_same(record, alone[name], tolerance)
    assert curve(group / name / "trial") == pytest.approx(curve(runs / "alone" / name), abs=tolerance)
    assert (record.tokens, record.steps) == (alone[name].tokens, alone[name].steps)
    assert record.provenance["execution"]["workers"] == 2
    for horizon, expected in zip(record.horizons, alone[name].horizons, strict=True):
        assert horizon.loss.original == pytest.approx(expected.loss.original, abs=tolerance)


def test_scoring_the_base_model_first_leaves_the_training_as_it_is(group: Path, alone: dict[str, Record]) -> None:
    record = recorded(group, "scored")
    assert set(record.scores) == {"cloze_original", "cloze_additional"}
    assert_same(record, alone["plain"], 1e-4)


def test_no_worker_holds_the_whole_model(group: Path) -> None:
    first, second = held(group, "plain")
    assert first["here"] + second["here"] == first["whole"] == second["whole"]
    for worker in (first, second):
        assert worker["here"] < 0.51 * worker["whole"]
        assert worker["largest"] == 300 * 32 // 2  # half of the embedding


def test_what_two_workers_save_is_a_hugging_face_model(group: Path, alone: dict[str, Record]) -> None:
    folder = group / "plain" / "trial" / "model"
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert "distributed_config" not in json.loads((folder / "config.json").read_text())
    assert AutoTokenizer.from_pretrained(folder).eos_token == "<end>"
    saved = json.loads((folder.parent / "kept.json").read_text())
    loss = recorded(group, "plain").loss
    assert saved["objective"] == pytest.approx((loss.original + loss.additional) / 2)
    tokens = torch.arange(32)[None]
    assert model(input_ids=tokens, labels=tokens).loss.isfinite()
    assert {p.name for p in folder.iterdir()} >= {"model.safetensors.index.json", "tokenizer.json", "config.json"}


def test_one_worker_resumes_from_the_checkpoint_of_two(
    make: Callable[..., Study], group: Path, alone: dict[str, Record], tmp_path: Path
) -> None:
    assert [worker["raised"] for worker in held(group, "stopped")] == ["PreemptedError"] * 2
    shutil.copytree(group / "stopped" / "trial", tmp_path / "trial")
    record = run(make(WSD), tmp_path / "trial")
    assert record.provenance["execution"]["gone_on_from_steps"] == [5]
    assert_same(record, alone["plain"], 1e-4)
    assert not (tmp_path / "trial" / "checkpoint").exists()


def test_two_workers_resume_from_the_checkpoint_of_one(group: Path, alone: dict[str, Record], runs: Path) -> None:
    record = recorded(group, "taken-over")
    assert record.provenance["execution"]["gone_on_from_steps"] == [3]
    assert_same(record, alone["plain"], 1e-4)
    assert curve(group / "taken-over" / "trial") == pytest.approx(curve(runs / "alone" / "plain"), abs=1e-4)


def test_two_workers_out_of_memory_have_to_start_again_with_half(make: Callable[..., Study], group: Path) -> None:
    assert [worker["raised"] for worker in held(group, "out-of-memory")] == ["MicroBatchHalvedError"] * 2
    study = make(WSD, resources=TWO_WORKERS)
    assert stored_micro_batch(study, group / "out-of-memory" / "trial") == 2  # of the four of each worker
    assert stored_micro_batch(study, group / "plain" / "trial") is None
