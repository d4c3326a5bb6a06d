"""The start scripts of one format, for torchrun, Slurm, KubeRay and SkyPilot."""

from __future__ import annotations

import re
from pathlib import Path

from analysis.launch.plan.launch_plan import DATA, LaunchPlan
from analysis.launch.scripts import kuberay, skypilot
from analysis.launch.scripts.torchrun import HERE, Command, start_script
from sweep.study.files import disk
from sweep.study.sections.launch import Launch
from sweep.study.sections.text import stages

LONGEST = 40  # KubeRay's RayJob accepts 47 characters
NOTICE = 300  # seconds before the end of a job's time
SLURM = """
set -euo pipefail
cd -- "$SLURM_SUBMIT_DIR"
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
MASTER_ADDR=${hosts%%$'\\n'*}
export MASTER_ADDR NNODES="$SLURM_JOB_NUM_NODES" MASTER_PORT="${MASTER_PORT:-29500}"
requeue() {
    printf 'slurm.sbatch: time is up: requeued, to go on from the newest checkpoint\\n' >&2
    scontrol requeue "$SLURM_JOB_ID"
}
trap requeue USR1
# shellcheck disable=SC2016  # each node has its own SLURM_NODEID
srun --kill-on-bad-exit=1 bash -c 'NODE_RANK="$SLURM_NODEID" exec bash start.sh "$@"' start "$@" &
wait "$!"
"""
# Slurm starts the job again after a node failed or it was preempted, and, requeued by the script, when its time is up.
AGAIN = (
    "#SBATCH --requeue",
    "#SBATCH --open-mode=append",
    f"#SBATCH --signal=B:USR1@{NOTICE}",
)


def write(plan: LaunchPlan, folder: Path, name: str, command: Command) -> None:
    own = plan.data == DATA  # other runs are confirmation runs, with names of their own
    launch, job = plan.launch, job_name(plan.study.name, name if own else folder.name)
    inside = f"{plan.origin.stage}/{folder.name}" if plan.origin else folder.name
    texts = {
        "start.sh": start_script(launch, command, plan.beside, _what(plan)),
        "slurm.sbatch": _slurm(launch, job),
        "rayjob.yaml": kuberay.script(launch, job, inside),
        "ray_start.py": (HERE / "ray_start.txt").read_text(encoding="utf-8"),
        "sky.yaml": skypilot.script(launch, job, command, "" if own else folder.name),
    }
    for file, text in texts.items():
        disk.written(folder / file, text)
    for file in ("start.sh", "slurm.sbatch"):
        (folder / file).chmod(0o755)


def _what(plan: LaunchPlan) -> str:
    stage = plan.study.training.stage
    return "the launch" if stage == "cpt" else stages.NAMES[stage].lower()


def warnings(plan: LaunchPlan) -> list[str]:
    return [*kuberay.warnings(plan.launch), *skypilot.warnings(plan.launch)]


def job_name(study: str, trainer: str) -> str:
    """Lower-case letters, digits and single hyphens, as Kubernetes requires; the other schedulers accept them too."""
    text = re.sub(r"[^a-z0-9]+", "-", f"{study}-{trainer}".lower()).strip("-")
    return text if len(text) <= LONGEST else text[: LONGEST - len(trainer) - 1].rstrip("-") + "-" + trainer


def _slurm(launch: Launch, job: str) -> str:
    """slurm.sbatch: runs start.sh once on every node of an allocation."""
    gpus = [f"#SBATCH --gpus-per-node={launch.gpus_per_node}"] if launch.gpus_per_node else []
    head = [
        "#!/usr/bin/env bash",
        f"#SBATCH --job-name={job}",
        f"#SBATCH --nodes={launch.nodes}",
        "#SBATCH --ntasks-per-node=1",
        *gpus,
        "#SBATCH --exclusive",
        *AGAIN,
        "#SBATCH --output=%x-%j.log",
        "# Submit it from this folder: sbatch --partition=... --account=... slurm.sbatch",
    ]
    return "\n".join(head) + SLURM
