"""sky.yaml: the launch as a SkyPilot task."""

from __future__ import annotations

from typing import Any

from analysis.launch.scripts import yaml_text
from analysis.launch.scripts.kuberay import UNSTATED
from analysis.launch.scripts.torchrun import RESTARTS, Command
from sweep.study.sections.launch import Launch

# SkyPilot's names of the GPUs in a study.
ACCELERATORS = {
    "A100-40GB": "A100",
    "A100-80GB": "A100-80GB",
    "L40S-48GB": "L40S",
    "H100-80GB": "H100",
    "H200-141GB": "H200",
    "B200-180GB": "B200",
}
COPIED = "# Run sky launch sky.yaml in this folder. SkyPilot copies {} to every node.\n"
PREPARE = """# Before that, run {} once, on a machine without GPUs that sees the corpora: it packs the text into {}.
"""
HEAD = """# Checkpoints go below ALMR_CHECKPOINTS, by default the home folder. sky jobs launch sky.yaml starts it again
# after a preemption or a failure, to go on from the newest checkpoint: give it a folder that outlives its machines.
"""
SHARED = """# Several nodes need a checkpoint folder that all share and that outlives them: mount storage,
# file_mounts: {/checkpoints: {source: s3://...}}, and launch with --env ALMR_CHECKPOINTS=/checkpoints.
"""
ALONE = 'export ALMR_CHECKPOINTS="${ALMR_CHECKPOINTS:-$HOME}"\n'
TOGETHER = ': "${ALMR_CHECKPOINTS:?is not set: name a folder that all nodes share, as sky.yaml says}"\n'
RUN = """set -euo pipefail
MASTER_ADDR=$(head -n 1 <<< "$SKYPILOT_NODE_IPS")
export MASTER_ADDR MASTER_PORT=29500 NNODES="$SKYPILOT_NUM_NODES" NODE_RANK="$SKYPILOT_NODE_RANK"
"""


def script(launch: Launch, name: str, command: Command, inside: str = "") -> str:
    """`inside`: the run's folder in the bundle, where it reads another's data: then the whole bundle is copied."""
    several = launch.nodes > 1
    gpu = ACCELERATORS[launch.gpu] if launch.gpu else UNSTATED
    resources: dict[str, Any] = {"job_recovery": {"max_restarts_on_errors": RESTARTS}}
    if launch.gpus_per_node:
        resources = {"accelerators": f"{gpu}:{launch.gpus_per_node}"} | resources
    task = {
        "name": name,
        "num_nodes": launch.nodes,
        "workdir": ".." if inside else ".",
        "resources": resources,
        "envs": {"ALMR_CHECKPOINTS": "", **command.variables},
        "setup": yaml_text.Block(f"{command.install}\n"),
        "run": yaml_text.Block(
            RUN + (TOGETHER if several else ALONE) + f"bash {f'{inside}/' if inside else ''}start.sh\n"
        ),
    }
    head = COPIED.format("the whole bundle, the folder above," if inside else "it")
    head += PREPARE.format(command.prepare, command.packed)
    return head + HEAD + (SHARED if several else "") + yaml_text.dump(task)


def warnings(launch: Launch) -> list[str]:
    found = []
    if launch.gpus_per_node and not launch.gpu:
        found.append(f"sky.yaml is incomplete ({UNSTATED}): state launch.gpu to start it with SkyPilot")
    if launch.nodes > 1:
        found.append(
            "SkyPilot's nodes share no folder: mount storage (file_mounts) for the checkpoints and set "
            "--env ALMR_CHECKPOINTS=FOLDER"
        )
    return found
