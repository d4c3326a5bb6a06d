"""Writes the folder that serves a model on GPUs."""

from __future__ import annotations

import re
from pathlib import Path

from analysis.launch.scripts.starts import job_name
from analysis.launch.serving import kubernetes, readme, starts
from analysis.launch.serving.plan import ServingPlan
from sweep.study import InputError
from sweep.study.files.atomic import write_atomically

README, START, SLURM, KUBERNETES, GUARD = "README.md", "start.sh", "slurm.sbatch", "kubernetes.yaml", "guard.py"
OURS = (README, START, SLURM, KUBERNETES, GUARD)
MARK = "# Serving "  # how a README.md of this kind begins


def write(plan: ServingPlan, folder: Path, remarks: list[str]) -> list[Path]:
    """Returns the files. Raises InputError for a folder that holds other files; its own are replaced."""
    refuse_foreign(folder)
    folder.mkdir(parents=True, exist_ok=True)
    texts = contents(plan, remarks)
    for name in OURS:
        (folder / name).unlink(missing_ok=True)
    written = [write_atomically(folder / name, text) for name, text in texts.items()]
    for name in (START, SLURM):
        (folder / name).chmod(0o755)
    return written


def contents(plan: ServingPlan, remarks: list[str]) -> dict[str, str]:
    """The text of each file; README.md comes last, and marks the folder as whole."""
    job = object_name(plan.model.name)
    one_node = {KUBERNETES: kubernetes.script(plan, job)} if plan.hardware.nodes == 1 else {}
    return {
        START: starts.start_script(plan),
        SLURM: starts.slurm_script(plan, job),
        **one_node,
        GUARD: (Path(__file__).parent / GUARD).read_text(encoding="utf-8"),
        README: readme.text(plan, remarks),
    }


def object_name(model: str) -> str:
    """Of its objects in Slurm and Kubernetes, which begin with a letter there."""
    return job_name("serve-" + re.sub(r".*/", "", model, flags=re.DOTALL), "vllm")


def refuse_foreign(folder: Path) -> None:
    if folder.is_file():
        raise InputError(f"--out {folder}: it is a file: name a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    mark = folder / README
    if not mark.is_file() or not mark.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise InputError(f"--out {folder}: it holds other files: name a new folder")
