"""slurm.sbatch: runs start.sh once on every node of an allocation."""

from __future__ import annotations

from analysis.launch.scripts.names import job_name
from sweep.study.sections.launch import Launch

BODY = """
set -euo pipefail
cd -- "$SLURM_SUBMIT_DIR"
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
MASTER_ADDR=${hosts%%$'\\n'*}
export MASTER_ADDR NNODES="$SLURM_JOB_NUM_NODES" MASTER_PORT="${MASTER_PORT:-29500}"
# shellcheck disable=SC2016  # each node has its own SLURM_NODEID
srun --kill-on-bad-exit=1 bash -c 'NODE_RANK="$SLURM_NODEID" exec bash start.sh "$@"' start "$@"
"""


def script(launch: Launch, study: str, trainer: str) -> str:
    gpus = [f"#SBATCH --gpus-per-node={launch.gpus_per_node}"] if launch.gpus_per_node else []
    head = [
        "#!/usr/bin/env bash",
        f"#SBATCH --job-name={job_name(study, trainer)}",
        f"#SBATCH --nodes={launch.nodes}",
        "#SBATCH --ntasks-per-node=1",
        *gpus,
        "#SBATCH --exclusive",
        "#SBATCH --output=%x-%j.log",
        "# Submit it from this folder: sbatch --partition=... --account=... slurm.sbatch",
    ]
    return "\n".join(head) + BODY
