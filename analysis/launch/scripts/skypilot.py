"""sky.yaml: the launch as a SkyPilot task."""

from __future__ import annotations

import yaml

from analysis.launch.scripts.kuberay import UNSTATED
from analysis.launch.scripts.names import job_name
from sweep.launch import Launch

# SkyPilot's names of GPUs, where they are not ours.
ACCELERATORS = {
    "A100-40GB": "A100",
    "A100-80GB": "A100-80GB",
    "L40S-48GB": "L40S",
    "H100-80GB": "H100",
    "H200-141GB": "H200",
    "B200-180GB": "B200",
}
HEAD = "# sky launch sky.yaml, in this folder, which every node gets; the data have to be there too.\n"
RUN = """set -euo pipefail
MASTER_ADDR=$(head -n 1 <<< "$SKYPILOT_NODE_IPS")
export MASTER_ADDR MASTER_PORT=29500 NNODES="$SKYPILOT_NUM_NODES" NODE_RANK="$SKYPILOT_NODE_RANK"
bash start.sh
"""


class _Block(str):
    """Written as a block, line by line."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|"))


def script(launch: Launch, study: str, trainer: str, install: str) -> str:
    gpu = ACCELERATORS[launch.gpu] if launch.gpu else UNSTATED
    resources = {"resources": {"accelerators": f"{gpu}:{launch.gpus_per_node}"}} if launch.gpus_per_node else {}
    task = {
        "name": job_name(study, trainer),
        "num_nodes": launch.nodes,
        "workdir": ".",
        **resources,
        "setup": _Block(f"{install}\n"),
        "run": _Block(RUN),
    }
    return HEAD + yaml.dump(task, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def warnings(launch: Launch) -> list[str]:
    if launch.gpu or not launch.gpus_per_node:
        return []
    return [f"sky.yaml says {UNSTATED}: state launch.gpu to start it with SkyPilot"]
