"""Megatron core reads what was packed: documents by its own class, logits of its own model."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from sweep.study.sizes.megatron_model import architecture
from trainers.packing import megatron_index
from trainers.packing.megatron_weights import to_megatron

PYTHON = Path(os.environ.get("ALMR_EXPORT_VENVS", "/nowhere"), "megatron", "bin", "python")
CHECKOUT = Path(os.environ.get("MEGATRON", "/nowhere"))
EXPORTS = Path(__file__).parents[2] / "exports"
SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 120}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
LLAMA31 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA31 |= {"rope_theta": 10000.0, "original_max_position_embeddings": 8192}
PLAIN = {"rope_type": "default", "rope_theta": 1000000.0}
SAME, OTHER = 1e-5, 1e-3  # of logits with a spread of 1


def run(*command: str | Path) -> str:
    if not PYTHON.exists():
        pytest.skip("megatron is not installed: make test-exports")
    process = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "OMP_NUM_THREADS": "1"}
    process |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "PYTHONPATH": f"{EXPORTS}/cpu/megatron:{CHECKOUT}"}
    done = subprocess.run([PYTHON, *command], env=os.environ | process, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


def test_documents_are_read_by_megatrons_own_class(tmp_path: Path) -> None:
    tokens, begin = np.arange(10), np.isin(np.arange(10), [4, 9])
    megatron_index.write(tmp_path / "x", [(tokens[:7], begin[:7]), (tokens[7:], begin[7:])])
    code = (
        "import sys, json; from megatron.core.datasets.indexed_dataset import IndexedDataset\n"
        "found = IndexedDataset(sys.argv[1]); print(json.dumps([found[i].tolist() for i in range(len(found))]))"
    )
    assert json.loads(run("-c", code, tmp_path / "x")) == [[0, 1, 2, 3], [4, 5, 6, 7, 8], [9]]


def difference(model: Path, packed: Path) -> float:
    if not (CHECKOUT / "pretrain_gpt.py").is_file():
        pytest.skip("MEGATRON is no checkout of Megatron-LM")
    found = json.loads(run(EXPORTS / "megatron_logits.py", model, packed))
    assert 0.5 < found["spread"] < 2
    return float(found["difference"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_a_converted_model_has_the_logits_of_transformers(tmp_path: Path, kind: str) -> None:
    """Llama with the scaling of RoPE of 3.1, without which the logits are others."""
    torch.manual_seed(0)
    rope = LLAMA31 if kind == "llama" else PLAIN
    config = transformers.AutoConfig.for_model(kind, **SIZES, **HEADS, rope_parameters=rope)
    made = transformers.AutoModelForCausalLM.from_config(config)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3 if parameter.dim() > 1 else 0.5)
    made.save_pretrained(tmp_path / "model")
    to_megatron(tmp_path / "model", tmp_path / "base")
    given = architecture(json.loads((tmp_path / "model" / "config.json").read_text()), 64)
    (tmp_path / "model_args.txt").write_text("\n".join(part for argument in given for part in argument))
    assert difference(tmp_path / "model", tmp_path) < SAME
    if kind == "llama":
        plain = [part for argument in given for part in argument if part != "--use-rope-scaling"]
        (tmp_path / "model_args.txt").write_text("\n".join(plain))
        assert difference(tmp_path / "model", tmp_path) > OTHER
