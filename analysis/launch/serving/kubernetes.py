"""kubernetes.yaml: vLLM's server as a Deployment on the GPUs of one node, a Service before it, and guard.py."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from analysis.launch.scripts import yaml_text
from analysis.launch.scripts.kuberay import UNSTATED
from analysis.launch.serving import command
from analysis.launch.serving.plan import ServingPlan

IMAGE = f"vllm/vllm-openai:v{command.VERSION}"
PORT = 8000
MODELS, GUARDS, CACHE = "/models", "/guard", "/root/.cache"
READ_RATE = 2e8  # bytes of weights a second, from a slow volume or the hub
STARTING = 300  # seconds for the rest of a start: compilation, CUDA graphs
PERIOD = 10  # seconds between two probes
HEAD = """# 1. The key, which clients give, from ALMR_API_KEY of your shell:
#    printf %s "$ALMR_API_KEY" | kubectl create secret generic {job}-key --from-file=key=/dev/stdin
# 2. kubectl apply -f kubernetes.yaml
# 3. From your own machine: kubectl port-forward service/{job} 8000:8000, then http://127.0.0.1:8000/v1
# A secret hf-token with the key "token" lets it download a model that is not public.
"""
CLAIM = f"""# The model's folder has to lie at the top of a volume claim, which is named below ({UNSTATED}).
"""


def script(plan: ServingPlan, job: str) -> str:
    """`job`: the name of all its objects, of letters, digits and hyphens."""
    objects = [_guard(job), _service(job), _deployment(plan, job)]
    head = HEAD.format(job=job) + (CLAIM if plan.model.local else "")
    return head + "---\n".join(yaml_text.dump(one) for one in objects)


def _guard(job: str) -> dict[str, Any]:
    text = (Path(__file__).parent / "guard.py").read_text(encoding="utf-8")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{job}-guard"},
        "data": {"guard.py": yaml_text.Block(text)},
    }


def _service(job: str) -> dict[str, Any]:
    spec = {"selector": {"app": job}, "ports": [{"name": "http", "port": PORT, "targetPort": "http"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": job}, "spec": spec}


def _deployment(plan: ServingPlan, job: str) -> dict[str, Any]:
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # else a Service named vllm sets VLLM_PORT, which vLLM takes for its own
        "terminationGracePeriodSeconds": 60,
        "containers": [_container(plan, job)],
        "volumes": _volumes(plan, job),
    }
    spec = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},  # a second copy would wait for the GPUs of the first
        "selector": {"matchLabels": {"app": job}},
        "template": {"metadata": {"labels": {"app": job}}, "spec": pod},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": job}, "spec": spec}


def _container(plan: ServingPlan, job: str) -> dict[str, Any]:
    words = ["vllm", "serve", model_path(plan), *command.arguments(plan), "--host=0.0.0.0", f"--port={PORT}"]
    return {
        "name": "vllm",
        "image": IMAGE,
        "command": [literal(word) for word in words],
        "env": [
            _secret(command.KEY, f"{job}-key", "key"),
            _secret("HF_TOKEN", "hf-token", "token"),
            {"name": "PYTHONPATH", "value": GUARDS},
        ],
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": {"limits": {"nvidia.com/gpu": plan.hardware.gpus}},
        "securityContext": {"allowPrivilegeEscalation": False},
        **_probes(plan),
        "volumeMounts": _mounts(plan),
    }


def literal(word: str) -> str:
    """Kubernetes replaces $(NAME) by a variable of the container, such as the key; $$ is a dollar sign."""
    return word.replace("$", "$$")


def model_path(plan: ServingPlan) -> str:
    """In the container."""
    return f"{MODELS}/{Path(plan.model.source).name}" if plan.model.local else plan.model.source


def _secret(variable: str, name: str, key: str) -> dict[str, Any]:
    optional = {"optional": True} if variable != command.KEY else {}
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key, **optional}}}


def _probes(plan: ServingPlan) -> dict[str, Any]:
    """/health answers when the model is loaded, and no more when the engine has died."""
    weights = plan.memory.weights * plan.hardware.gpus
    patience = math.ceil((STARTING + weights / READ_RATE) / PERIOD)
    return {
        f"{name}Probe": {
            "httpGet": {"path": "/health", "port": "http"},
            "periodSeconds": PERIOD,
            "timeoutSeconds": 5,
            "failureThreshold": failures,
        }
        for name, failures in (("startup", patience), ("readiness", 1), ("liveness", 6))
    }


def _mounts(plan: ServingPlan) -> list[dict[str, Any]]:
    model = [{"name": "model", "mountPath": MODELS, "readOnly": True}] if plan.model.local else []
    return [
        *model,
        {"name": "cache", "mountPath": CACHE},
        {"name": "guard", "mountPath": GUARDS, "readOnly": True},
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
    ]


def _volumes(plan: ServingPlan, job: str) -> list[dict[str, Any]]:
    model = [{"name": "model", "persistentVolumeClaim": {"claimName": UNSTATED, "readOnly": True}}]
    return [
        *(model if plan.model.local else []),
        {"name": "cache", "emptyDir": {}},
        {"name": "guard", "configMap": {"name": f"{job}-guard"}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
