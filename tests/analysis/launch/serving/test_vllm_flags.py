"""vLLM's own parser reads what is written for it. VLLM_PYTHON names the Python of an environment with vllm 0.33."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from analysis.launch.serving import command
from analysis.launch.serving.plan import ServedModel, ServingGpus, make
from sweep.study.sizes.known import GPUS, KNOWN

pytestmark = pytest.mark.exports
READER = """
import json, sys
from vllm.entrypoints.common.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser
found = make_arg_parser(FlexibleArgumentParser(prog="vllm serve")).parse_args(sys.argv[1:])
validate_parsed_serve_args(found)
print(json.dumps({name: getattr(found, name) for name in ("model_tag", "served_model_name", "dtype", "middleware",
    "tensor_parallel_size", "pipeline_parallel_size", "max_model_len", "max_num_seqs", "max_num_batched_tokens",
    "gpu_memory_utilization", "nnodes", "node_rank", "master_addr", "master_port", "headless", "host", "port")}))
"""
NAME = "-a 'b\" $(c)=d"


def test_every_flag_is_read_as_meant(tmp_path: Path) -> None:
    python = os.environ.get("VLLM_PYTHON")
    if not python:
        pytest.skip("VLLM_PYTHON names no Python with vllm")
    model = ServedModel(NAME, f"/models/{NAME}", KNOWN["meta-llama/Llama-3.1-70B"].shape)
    plan = make(model, ServingGpus("H100-80GB", GPUS["H100-80GB"].bytes, 8, 2))
    more = ["--node-rank=1", "--master-addr=a", "--master-port=29500", "--headless", "--host=127.0.0.1", "--port=8000"]
    words = [python, "-c", READER, model.source, *command.arguments(plan), *more]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "model_tag": model.source,
        "served_model_name": [NAME],
        "dtype": "bfloat16",
        "middleware": [command.GUARD],
        "tensor_parallel_size": 8,
        "pipeline_parallel_size": 2,
        "max_model_len": plan.length,
        "max_num_seqs": plan.sequences,
        "max_num_batched_tokens": plan.batched,
        "gpu_memory_utilization": plan.utilization,
        "nnodes": 2,
        "node_rank": 1,
        "master_addr": "a",
        "master_port": 29500,
        "headless": True,
        "host": "127.0.0.1",
        "port": 8000,
    }
