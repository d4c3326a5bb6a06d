"""rayjob.yaml: the launch as a KubeRay RayJob. Ray only provides the nodes; ray_start.py runs start.sh on each."""

from __future__ import annotations

from typing import Any

import yaml

from analysis.launch.scripts.torchrun import RESTARTS
from sweep.study.sections.launch import Launch

UNSTATED = "CHANGE-ME"
MOUNT = "/claim"
FOLDER = "launch"
HEAD = f"""# kubectl apply -f rayjob.yaml. Copy the bundle, the folder above, to the volume claim as {FOLDER}/, with the
# text that prepare.sh packed. Other data and the model keep their own paths. The claim is mounted at {MOUNT}.
# Checkpoints go beside {FOLDER}/, which another export replaces.
"""


def script(launch: Launch, name: str, folder: str) -> str:
    """`folder`: of the run, in the bundle."""
    spec = {
        "entrypoint": f"python {MOUNT}/{FOLDER}/{folder}/ray_start.py {launch.nodes} {launch.gpus_per_node}",
        "shutdownAfterJobFinishes": True,
        "backoffLimit": RESTARTS,  # each on a new cluster
        "rayClusterSpec": {
            "headGroupSpec": {"rayStartParams": {"num-gpus": "0", "num-cpus": "0"}, "template": _pod(launch, 0)},
            "workerGroupSpecs": [
                {
                    "groupName": "gpus",
                    "replicas": launch.nodes,
                    "minReplicas": launch.nodes,
                    "maxReplicas": launch.nodes,
                    "rayStartParams": {},
                    "template": _pod(launch, launch.gpus_per_node),
                }
            ],
        },
    }
    job = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": name}, "spec": spec}
    return HEAD + yaml.safe_dump(job, sort_keys=False, allow_unicode=True)


def warnings(launch: Launch) -> list[str]:
    unstated = [f"launch.{name}" for name in ("image", "volume_claim") if not getattr(launch, name)]
    missing = f"rayjob.yaml is incomplete ({UNSTATED}): state {' and '.join(unstated)} to start it on Kubernetes"
    return [missing] if unstated else []


def _pod(launch: Launch, gpus: int) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "ray", "image": launch.image or UNSTATED}
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": gpus}}
    container["env"] = [{"name": "ALMR_CHECKPOINTS", "value": MOUNT}]
    mounts = [{"name": "launch", "mountPath": MOUNT}, {"name": "shm", "mountPath": "/dev/shm"}]  # noqa: S108
    container["volumeMounts"] = mounts
    volumes = [
        {"name": "launch", "persistentVolumeClaim": {"claimName": launch.volume_claim or UNSTATED}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    return {"spec": {"containers": [container], "volumes": volumes}}
