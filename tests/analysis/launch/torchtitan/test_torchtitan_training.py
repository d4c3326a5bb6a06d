"""torchtitan itself trains a bundle on a CPU, by the bundle's own start.sh. `make test-exports` runs it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from analysis.launch.bundle import write
from sweep.study.files.atomic import sha256
from trainers.data.tokens.borders import Borders
from trainers.loop.held_out import evaluate
from trainers.loop.learner import Learner
from trainers.model.token_loss import TokenLoss

ROOT = Path(__file__).parents[4]
VENV = Path(os.environ.get("ALMR_EXPORT_VENVS", "/nowhere")) / "torchtitan" / "bin"
READER = ROOT / "sweep" / "external" / "runs" / "readers" / "torchtitan.py"
WORDS, LENGTH, BATCH, STEPS, NODES = 256, 64, 8, 20, 2
END = 0
BORDERS = Borders((), (END,))
HELD_OUT = ("original", "additional")


@pytest.fixture
def installed() -> None:
    if not (VENV / "python").exists():
        pytest.skip("torchtitan is not installed: make test-exports")


@pytest.fixture
def llama(tmp_path):
    """A Llama of the third generation's kind: scaled rope, grouped keys, heads wider than hidden size / heads."""
    torch.manual_seed(0)
    rope = {"rope_type": "llama3", "rope_theta": 5e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=80,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        vocab_size=WORDS,
        max_position_embeddings=256,
        rms_norm_eps=3e-4,
        rope_parameters=rope | {"original_max_position_embeddings": 32},
    )
    model = LlamaForCausalLM(config)
    for weights in model.parameters():
        weights.data.mul_(4)  # so that attention, and so the rope, matters
    model.save_pretrained(tmp_path / "llama")
    tokenizer = {"version": "1.0", "model": {"type": "WordLevel", "vocab": {"</s>": END}, "unk_token": "</s>"}}
    (tmp_path / "llama" / "tokenizer.json").write_text(json.dumps(tokenizer))
    (tmp_path / "llama" / "tokenizer_config.json").write_text("{}")
    return tmp_path / "llama"


@pytest.fixture
def rows():
    """Blocks by file: documents of about 20 tokens."""
    draw = np.random.default_rng(0)
    sizes = {"train": BATCH * STEPS, "held_out_original": 7, "held_out_additional": 9}
    made = {name: draw.integers(1, WORDS, (count, LENGTH), np.uint32) for name, count in sizes.items()}
    return {name: np.where(draw.random(of.shape) < 1 / 20, np.uint32(END), of) for name, of in made.items()}


def bundle(make_plan, make_study, llama, folder):
    study = make_study(
        training={
            "sequence_length": LENGTH,
            "tokens": BATCH * STEPS * LENGTH,
            "global_batch_tokens": BATCH * LENGTH,
            "document_masking": True,
            "precision": "float32",
            "log_every": 1,
        },
        launch={
            "model": str(llama),
            "tokens": BATCH * STEPS * LENGTH,
            "global_batch_tokens": BATCH * LENGTH,
            "sequence_length": LENGTH,
            "nodes": NODES,
            "gpus_per_node": 0,
            "micro_batch_sequences": 2,
        },
    )
    plan = make_plan("torchtitan", study, lr=0.01)
    write(plan, "torchtitan", folder)
    return plan


def pack(rows, folder):
    folder.mkdir()
    for name, of in rows.items():
        of.tofile(folder / f"{name}.bin")
    about = {
        "study_sha256": sha256(folder.parent / "study.yaml"),
        "sequence_length": LENGTH,
        "rows": len(rows["train"]),
        "before": [],
        "after": [END],
    }
    held_out = {name: len(rows[f"held_out_{name}"]) for name in HELD_OUT}
    (folder / "blocks.json").write_text(json.dumps(about | {"document_masking": True, "held_out": held_out}))


def start(folder, *, shim=True):
    """Start all nodes of a launch; returns their exit statuses and outputs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "PATH": f"{VENV}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT / "tests" / "exports" / "cpu" / "torchtitan") if shim else "",
        "OMP_NUM_THREADS": "1",
        "NNODES": str(NODES),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "HF_HUB_OFFLINE": "1",
    }
    nodes = [
        subprocess.Popen(
            ["bash", str(folder / "start.sh")],
            env=environment | {"NODE_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(NODES)
    ]
    said = [node.communicate(timeout=600)[0] for node in nodes]
    return [node.returncode for node in nodes], said


def reference(plan, llama, rows):
    """Our own trainer on the same blocks: the losses before, its steps, the losses after."""
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    loss = TokenLoss(model, borders=BORDERS)
    tensors = {name: torch.from_numpy(of.astype(np.int64)) for name, of in rows.items()}

    def held_out():
        return {name: evaluate(loss, tensors[f"held_out_{name}"], 4) for name in HELD_OUT}

    before = held_out()
    learner = Learner(loss, plan.study.training, plan.lr)
    steps = list(learner.train(tensors["train"].split(BATCH), plan.schedule.share, lambda step: False))
    return before, steps, held_out()


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_two_processes_train_as_our_own_trainer_does(make_plan, make_study, llama, rows, tmp_path):
    """With documents kept apart. The parity runs train without a document mask, and go on from a checkpoint."""
    folder = tmp_path / "launch" / "torchtitan"
    folder.parent.mkdir()
    plan = bundle(make_plan, make_study, llama, folder)
    pack(rows, folder / "data")
    statuses, said = start(folder)
    assert statuses == [0] * NODES, said[0][-2000:]
    found = subprocess.run(
        [VENV / "python", "-c", READ, str(READER), str(tmp_path), str(STEPS)],
        capture_output=True,
        text=True,
        check=True,
    )
    trace = json.loads(found.stdout.splitlines()[-1])
    before, steps, after = reference(plan, llama, rows)
    assert trace["before"] == pytest.approx(before, abs=1e-5)
    assert [one["loss"] for one in trace["steps"]] == pytest.approx([one.loss for one in steps], abs=1e-4)
    assert [one["lr"] for one in trace["steps"]] == pytest.approx([one.lr for one in steps], rel=1e-6)
    assert trace["steps"][0]["grad_norm"] == pytest.approx(steps[0].grad_norm, rel=1e-4)
    left = TokenLoss(
        AutoModelForCausalLM.from_pretrained(trace["model"], dtype=torch.float32),
        borders=BORDERS,
    )
    for name in HELD_OUT:
        loss = evaluate(left, torch.from_numpy(rows[f"held_out_{name}"].astype(np.int64)), 4)
        assert loss == pytest.approx(after[name], abs=1e-4)
    assert start(folder)[0] == [0] * NODES  # a finished launch ends at once


READ = """
import json, runpy, sys
from pathlib import Path
read = runpy.run_path(sys.argv[1])["read"]
print(json.dumps(read(Path(), Path(sys.argv[2]), {"steps": int(sys.argv[3])})))
"""


@pytest.mark.usefixtures("installed")
def test_start_refuses_in_one_line_what_cannot_train(make_plan, make_study, llama, rows, tmp_path):
    folder = tmp_path / "torchtitan"
    bundle(make_plan, make_study, llama, folder)
    pack(rows, folder / "data")
    config = json.loads((llama / "config.json").read_text())
    refused = [(False, {}, "no torch.distributed.set_timeout"), (True, {"attention_bias": True}, "attention_bias True")]
    for shim, changed, says in refused:
        (llama / "config.json").write_text(json.dumps(config | changed))
        statuses, said = start(folder, shim=shim)
        assert statuses == [2] * NODES
        assert said[0].startswith("start.sh: ")
        assert says in said[0]
        assert said[0].count("\n") == 1
