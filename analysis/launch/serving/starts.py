"""start.sh and slurm.sbatch: vLLM's server on the nodes of one copy of the model."""

from __future__ import annotations

import shlex
from pathlib import Path

from analysis.launch.serving import command
from analysis.launch.serving.plan import ServingPlan
from sweep.study import numbers

HERE = Path(__file__).parent
HEAD = """#!/usr/bin/env bash
# Serves a model by vLLM {version}. README.md says what was chosen, and by what arithmetic.
# ALMR_API_KEY is the key that clients have to give. ALMR_HOST and ALMR_PORT: where it listens, by default this
# machine alone, 127.0.0.1:8000. Arguments go on to vllm serve.{nodes}
set -euo pipefail
"""
SEVERAL = "\n# Run it on every node, with NODE_RANK and MASTER_ADDR, the host of rank 0, which answers the clients."
RUN = """
printf 'Serving at http://%s:%s/v1; it loads {weights} first\\n' "$host" "$port"
exec vllm serve "$model" "${{arguments[@]}}" "--host=$host" "--port=$port" "$@"
"""
SLURM = """
set -euo pipefail
cd -- "$SLURM_SUBMIT_DIR"
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
MASTER_ADDR=${hosts%%$'\\n'*}
export MASTER_ADDR MASTER_PORT="${MASTER_PORT:-29500}"
printf 'from your own machine: ssh -N -L %s:127.0.0.1:%s %s\\n' "${ALMR_PORT:-8000}" "${ALMR_PORT:-8000}" "$MASTER_ADDR"
# shellcheck disable=SC2016  # each node has its own SLURM_NODEID
exec srun --kill-on-bad-exit=1 bash -c 'NODE_RANK="$SLURM_NODEID" exec bash start.sh "$@"' start "$@"
"""


def start_script(plan: ServingPlan) -> str:
    """What a user named is in quotes, and in no comment."""
    several = plan.hardware.nodes > 1
    words = "\n".join(f"    {shlex.quote(word)}" for word in command.arguments(plan))
    names = {"version": command.VERSION, "nodes": plan.hardware.nodes}
    lines = [
        HEAD.format(version=command.VERSION, nodes=SEVERAL if several else ""),
        f"readonly model={shlex.quote(plan.model.source)}",
        *(f"readonly {name}={value}" for name, value in names.items() if name == "version" or several),
        f"arguments=(\n{words}\n)",
    ]
    weights = numbers.size(plan.memory.weights * plan.hardware.gpus)
    parts = [(HERE / "start.sh").read_text(encoding="utf-8"), *([_nodes()] if several else [])]
    return "\n".join(lines) + "\n" + "".join(parts) + RUN.format(weights=f"{weights} of weights a node")


def _nodes() -> str:
    return (HERE / "nodes.sh").read_text(encoding="utf-8")


def slurm_script(plan: ServingPlan, job: str) -> str:
    """Runs start.sh once on every node of an allocation. `job`: of letters, digits and hyphens."""
    head = [
        "#!/usr/bin/env bash",
        f"#SBATCH --job-name={job}",
        f"#SBATCH --nodes={plan.hardware.nodes}",
        "#SBATCH --ntasks-per-node=1",
        f"#SBATCH --gpus-per-node={plan.hardware.gpus}",
        "#SBATCH --exclusive",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --output=%x-%j.log",
        "# Submit it from this folder, with ALMR_API_KEY set where others use the node:",
        "# sbatch --partition=... --account=... slurm.sbatch",
    ]
    return "\n".join(head) + SLURM
