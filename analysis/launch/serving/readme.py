"""README.md of what serves a model: what was chosen, the arithmetic of its memory, and how it is started."""

from __future__ import annotations

from analysis.launch.formats.format import cell, inert, visible
from analysis.launch.serving import command
from analysis.launch.serving.kubernetes import IMAGE, MODELS
from analysis.launch.serving.memory import cached_bytes, stage_layers
from analysis.launch.serving.plan import ServingPlan
from sweep.study import numbers

ESTIMATED = """
Weights and cache follow from the model's shape. The work of a step and the rest are estimates: vLLM measures both when
it starts, and its log says how many tokens its cache holds. No GPU was asked for these numbers.
"""
START = """## Start it
vLLM {version}, whose flags these are, in an environment of its own: `pip install vllm=={version}`.

- `bash start.sh`: {where}, with the key in ALMR_API_KEY. It listens on 127.0.0.1:8000; ALMR_HOST and ALMR_PORT
  name another place, and one that others reach is refused without a key.
- `sbatch --partition=... --account=... slurm.sbatch`: the same, on an allocation. Its log says how to reach it.
{kubernetes}
The key is read from the environment, never from a file or a command line. vLLM asks for it below `/v1` alone and
answers `/invocations` and `/tokenize` without it, so `guard.py`, which it loads as middleware, asks for it on every
path but `/health`.

## Try it
```bash
almr serve MODEL --check --url http://127.0.0.1:8000/v1
```
checks the chat template, the end of an answer, streaming and 20 clients at once, and measures latency and tokens a
second, with the key in ALMR_API_KEY. MODEL is the folder or the hub's id that is served.
"""
KUBERNETES = """- `kubectl apply -f kubernetes.yaml`: a Deployment of the image `{image}` with startup, readiness
  and liveness probes on `/health`, and a Service. Its head says how the key becomes a Secret.{claim}
"""
NO_KUBERNETES = """
There is no kubernetes.yaml: a Deployment is of single pods, and this model takes several nodes. LeaderWorkerSet starts
such groups: run start.sh in each of its pods.
"""
CLAIM = f" Put the model's folder into a volume claim, mounted at {MODELS}."


def text(plan: ServingPlan, remarks: list[str]) -> str:
    one = plan.hardware.nodes == 1
    kubernetes = KUBERNETES.format(image=IMAGE, claim=CLAIM if plan.model.local else "") if one else NO_KUBERNETES
    where = "on the node" if one else "on every node, with NODE_RANK and MASTER_ADDR, the host of rank 0"
    parts = [
        f"# Serving {visible(plan.model.name)} on {plan.hardware.text}\n",
        _settings(plan),
        "## Memory of one GPU\n" + _memory(plan) + ESTIMATED,
        START.format(version=command.VERSION, where=where, kubernetes=kubernetes),
        *(["## Before clients come\n" + "".join(f"- {visible(line)}\n" for line in remarks)] if remarks else []),
    ]
    return inert("\n".join(parts))


def _settings(plan: ServingPlan) -> str:
    shape, hardware = plan.model.shape, plan.hardware
    stages = f"{plan.pipeline} stages of at most {stage_layers(shape.num_hidden_layers, plan.pipeline)} layers"
    made = f", of {plan.model.positions:,} that the model was made for" if plan.model.positions else ""
    rows = {
        "model": plan.model.source,
        "served as": plan.model.name,
        "tensor-parallel-size": f"{plan.tensor}: of {hardware.gpus} GPUs a node, the most among which "
        f"{shape.num_attention_heads} heads and {shape.key_heads} key heads part evenly",
        "pipeline-parallel-size": f"{plan.pipeline}: {'one stage' if plan.pipeline == 1 else stages}",
        "max-model-len": f"{plan.length:,} tokens, prompt and answer{made}",
        "max-num-seqs": f"{plan.sequences}: at this length the cache holds {plan.memory.tokens // plan.length}",
        "max-num-batched-tokens": f"{plan.batched:,} tokens a step",
        "gpu-memory-utilization": f"{plan.utilization:g} of {numbers.size(hardware.bytes)}",
    }
    table = [f"| {name} | {cell(value)} |" for name, value in rows.items()]
    return "\n".join(["| setting | value |", "|---|---|", *table, ""])


def _memory(plan: ServingPlan) -> str:
    sizes, shape = plan.memory, plan.model.shape
    layers = stage_layers(shape.num_hidden_layers, plan.pipeline)
    width, heads = shape.query_size // shape.num_attention_heads, max(1, shape.key_heads // plan.tensor)
    of_stage = "" if plan.pipeline == 1 else ", of the largest stage"
    a_token = (
        f"2 x {heads} heads x {width} x {layers} layers x 2 bytes = {cached_bytes(shape, plan.tensor, layers):,.0f}"
    )
    rows = [
        ("usable", sizes.usable, f"{plan.utilization:g} x {numbers.size(plan.hardware.bytes)}"),
        ("weights", sizes.weights, f"{shape.parameters:,} parameters x 2 bytes, {plan.tensor} parts{of_stage}"),
        ("work of a step", sizes.work, f"{plan.batched:,} tokens, and the logits of {plan.most_sequences} sequences"),
        ("rest", sizes.rest, "CUDA's context, communication, CUDA graphs: an allowance"),
        ("KV cache", sizes.cache, f"what is left: {sizes.tokens:,} tokens x {a_token} bytes"),
    ]
    table = [f"| {name} | {numbers.size(value)} | {how} |" for name, value, how in rows]
    return "\n".join(["| part | size | from |", "|---|---|---|", *table, ""])
