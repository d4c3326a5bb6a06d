"""A run that ends before its time starts again by itself, and goes on from its newest checkpoint."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from analysis.launch.formats import trl
from analysis.launch.scripts.prepare import PREPARED
from analysis.launch.scripts.torchrun import RESTARTS, TORCHRUN, Command, start_script

TRAIN = """
import os, pathlib, sys
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
total = torch.ones(1)
dist.all_reduce(total)  # fails where a process meets the addresses of a group that has ended
checkpoint = pathlib.Path(sys.argv[1])
first = int(checkpoint.read_text()) if checkpoint.exists() else 0
for step in range(first, 4):
    dist.barrier()
    if step == 2 and not first:
        if dist.get_rank() == 1:
            os._exit(9)
    if dist.get_rank() == 0:
        checkpoint.write_text(str(step + 1))
        with open("steps", "a") as log:
            print(step, int(total), file=log)
dist.destroy_process_group()
"""


def packed(folder: Path) -> Path:
    """The data of a format, as prepare.sh leaves them; returns the configuration of the model in it."""
    config = folder / "data" / "model" / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text("{}")
    (folder / "data" / "blocks.json").write_text(sha256((folder / "study.yaml").read_bytes()).hexdigest())
    return config


def tools(folder: Path, **bodies: str) -> str:
    """A PATH with stand-ins for programs."""
    folder.mkdir()
    for name, body in bodies.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


@pytest.mark.slow
def test_torchrun_starts_a_failed_group_again_from_its_checkpoint(make_study, tmp_path):
    """With the real torchrun, and processes that have to find each other again."""
    launch = make_study(launch={"nodes": 1, "gpus_per_node": 2}).launch
    command = Command("a trainer", "t.py", "", "", TORCHRUN + 't.py "$checkpoints"', "", checkpoints="kept")
    (tmp_path / "start.sh").write_text(start_script(launch, command, "../..", "the launch"))
    (tmp_path / "t.py").write_text(TRAIN)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ALMR_CHECKPOINTS": str(tmp_path),
        "MASTER_PORT": "29731",
        "OMP_NUM_THREADS": "1",
    }
    start = ["bash", str(tmp_path / "start.sh")]
    done = subprocess.run(start, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "steps").read_text().split("\n")[:-1] == ["0 2", "1 2", "2 2", "3 2"]


@pytest.mark.parametrize("name", ["native", "torchtitan", "megatron"])
def test_every_node_is_told_where_the_others_are_and_how_often_to_try(write_format, make_study, tmp_path, name):
    folder = write_format(name, make_study(launch={"nodes": 1}))
    text = (folder / "start.sh").read_text()
    assert "--rdzv-backend=c10d" in text
    assert f"readonly restarts={RESTARTS}" in text
    assert "export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in text


@pytest.mark.parametrize(("rank", "expects"), [("0", "first"), ("1", "127.0.0.1")])
def test_a_node_finds_the_address_that_the_others_reach_it_by(write_format, make_study, tmp_path, rank, expects):
    folder = write_format("native", make_study(launch={"nodes": 2}))
    (folder / PREPARED).touch()
    python = f'case "$2" in *socket*) exec {sys.executable} "$@";; esac'
    path = tools(tmp_path / "bin", torchrun='printf "%s|" "$@"', python=python)
    node = {"NNODES": "2", "NODE_RANK": rank, "MASTER_ADDR": "first" if rank == "0" else "127.0.0.1"}
    environment = {"PATH": path, "MASTER_PORT": "29500", "ALMR_RESTARTS": "1"} | node
    start = ["bash", str(folder / "start.sh")]
    done = subprocess.run(start, env=environment, capture_output=True, text=True, check=True)
    given = done.stdout.splitlines()[-1].split("|")
    assert f"--local-addr={expects}" in given
    assert f"--rdzv-conf=is_host={1 - int(rank)}" in given
    assert "--max-restarts=1" in given


@pytest.mark.parametrize("name", ["llamafactory", "axolotl"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_checkpoint_whose_saving_was_cut_off_is_none(write_format, make_study, tmp_path, name, rank):
    """transformers takes the one with the highest step, and writes trainer_state.json last. One node removes it."""
    folder, kept = write_format(name, make_study(launch={"nodes": 2})), tmp_path / "my checkpoints"
    [output] = re.findall(r"(checkpoints-\S+)$", (folder / "start.sh").read_text(), re.MULTILINE)
    for step, text in {
        "checkpoint-20": "{}\n",
        "checkpoint-30": None,
        "checkpoint-40": "",
        "checkpoint-x": None,
    }.items():
        at = kept / output / step
        at.mkdir(parents=True)
        (at / "model.safetensors").write_text("weights")
        if text is not None:
            (at / "trainer_state.json").write_text(text)
    packed(folder)
    programs = dict.fromkeys(("llamafactory-cli", "axolotl", "python"), "true")
    path = tools(tmp_path / "bin", torchrun=f'ls "{kept}"/checkpoints-*', **programs)
    node = {"NNODES": "2", "NODE_RANK": str(rank), "MASTER_ADDR": "first", "MASTER_PORT": "1", "NODE_ADDR": "here"}
    environment = {"PATH": path, "ALMR_CHECKPOINTS": str(kept)} | node
    done = subprocess.run(["bash", str(folder / "start.sh")], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cut_off = ["checkpoint-30", "checkpoint-40"] if rank else []
    assert done.stdout.splitlines()[1:] == ["checkpoint-20", *cut_off, "checkpoint-x"]
    assert done.stderr.count("was cut off, and is removed") == 2 * (rank == 0)


@pytest.mark.parametrize("name", ["llamafactory", "trl"])
def test_data_that_were_copied_without_the_model_are_refused_in_a_line(write_format, make_study, tmp_path, name):
    """They have links to the base model, where it was on the machine that packed them."""
    folder = write_format(name, make_study(launch={"nodes": 1}))
    config, path = (
        packed(folder),
        tools(tmp_path / "bin", torchrun="true", python="true", **{"llamafactory-cli": "true"}),
    )
    start = ["bash", str(folder / "start.sh")]
    assert subprocess.run(start, env={"PATH": path}, capture_output=True).returncode == 0
    config.unlink()
    config.symlink_to("/models/llama 8b/config.json")
    done = subprocess.run(start, env={"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 2
    lost = "data/model/config.json leads to /models/llama 8b/config.json, which is not here: copy the model there"
    assert done.stderr == f"start.sh: {lost}\n"


@pytest.mark.parametrize("script", ["almr_trl", "almr_trl_dpo"])
def test_trl_goes_on_from_the_newest_checkpoint_that_is_whole(tmp_path, script):
    functions = [one for one in ast.parse(trl.text_of(script)).body if isinstance(one, ast.FunctionDef)]
    [newest] = [one for one in functions if one.name == "newest"]
    names = {"json": json, "Path": Path}
    exec(compile(ast.Module([newest], []), script, "exec"), names)
    assert names["newest"](str(tmp_path / "none")) is None
    for step, text in {"9": '{"global_step": 9}', "20": "{}", "100": "", "200": '{"log_hist', "300": None}.items():
        (tmp_path / f"checkpoint-{step}").mkdir()
        if text is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(text)
    (tmp_path / "checkpoint-best").mkdir()
    assert names["newest"](str(tmp_path)) == str(tmp_path / "checkpoint-20")


def test_slurm_requeues_a_job_whose_time_is_up(write_format, make_study, tmp_path):
    """Five minutes before; after a node's failure or a preemption it does so itself (--requeue)."""
    folder = write_format("native", make_study())
    script = (folder / "slurm.sbatch").read_text()
    for line in ("--requeue", "--signal=B:USR1@300", "--open-mode=append"):
        assert f"#SBATCH {line}\n" in script
    told = tmp_path / "told"
    scontrol = f'if [[ $1 == requeue ]]; then printf "%s" "$*" > {told}; else printf "first\\nsecond\\n"; fi'
    path = tools(tmp_path / "bin", scontrol=scontrol, srun=f"touch {tmp_path}/started; exec sleep 60")
    given = {"SLURM_SUBMIT_DIR": str(folder), "SLURM_JOB_NODELIST": "x", "SLURM_JOB_NUM_NODES": "16"}
    environment = given | {"PATH": path, "SLURM_JOB_ID": "42"}
    job = subprocess.Popen(["bash", str(folder / "slurm.sbatch")], env=environment, start_new_session=True)
    while not (tmp_path / "started").exists():
        time.sleep(0.02)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=20) != 0
    os.killpg(job.pid, signal.SIGKILL)  # the stand-in of srun, which Slurm would end
    assert told.read_text() == "requeue 42"


@pytest.mark.parametrize("status", [0, 7])
def test_a_slurm_job_ends_with_the_status_of_its_run(write_format, make_study, tmp_path, status):
    folder = write_format("native", make_study())
    path = tools(tmp_path / "bin", scontrol="printf 'first\\n'", srun=f"exit {status}")
    given = {"SLURM_SUBMIT_DIR": str(folder), "SLURM_JOB_NODELIST": "x", "SLURM_JOB_NUM_NODES": "16"}
    done = subprocess.run(["bash", str(folder / "slurm.sbatch")], env=given | {"PATH": path}, capture_output=True)
    assert done.returncode == status


def test_kuberay_and_skypilot_start_a_failed_run_again(write_format, make_study):
    folder = write_format("native", make_study())
    assert yaml.safe_load((folder / "rayjob.yaml").read_text())["spec"]["backoffLimit"] == RESTARTS
    recovery = yaml.safe_load((folder / "sky.yaml").read_text())["resources"]["job_recovery"]
    assert recovery == {"max_restarts_on_errors": RESTARTS}
