"""The start scripts of one format, for torchrun, Slurm, KubeRay and SkyPilot."""

from __future__ import annotations

from pathlib import Path

from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.scripts import kuberay, skypilot, slurm
from analysis.launch.scripts.torchrun import HERE, Command, start_script


def write(plan: LaunchPlan, folder: Path, name: str, command: Command) -> None:
    launch, study = plan.launch, plan.study.name
    texts = {
        "start.sh": start_script(launch, command),
        "slurm.sbatch": slurm.script(launch, study, name),
        "rayjob.yaml": kuberay.script(launch, study, name),
        "ray_start.py": (HERE / "ray_start.txt").read_text(encoding="utf-8"),
        "sky.yaml": skypilot.script(launch, study, name, command),
    }
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    for file in ("start.sh", "slurm.sbatch"):
        (folder / file).chmod(0o755)


def warnings(plan: LaunchPlan) -> list[str]:
    return [*kuberay.warnings(plan.launch), *skypilot.warnings(plan.launch)]
