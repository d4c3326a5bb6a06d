"""The words of `vllm serve`, as vLLM 0.33.0 reads them (vllm/engine/arg_utils.py, vllm/entrypoints/common/cli_args.py).

The key is never among them: vLLM reads it from VLLM_API_KEY. It asks for it below /v1, /v2, /inference and /cohere
only, and answers /invocations without one, so `guard.py` goes in front.
"""

from __future__ import annotations

from analysis.launch.serving.plan import ServingPlan

VERSION = "0.33.0"  # whose flags were read
KEY = "VLLM_API_KEY"
GUARD = "guard.KeyGuard"  # guard.py beside the scripts, on PYTHONPATH


def arguments(plan: ServingPlan) -> list[str]:
    """All but model, host, port and what differs by node. Each as --flag=value: a value may begin with a hyphen."""
    settings = {
        "served-model-name": plan.model.name,
        "dtype": "bfloat16",
        "tensor-parallel-size": plan.tensor,
        "pipeline-parallel-size": plan.pipeline,
        "max-model-len": plan.length,
        "max-num-seqs": plan.sequences,
        "max-num-batched-tokens": plan.batched,
        "gpu-memory-utilization": plan.utilization,
        "middleware": GUARD,
    }
    if plan.hardware.nodes > 1:
        settings |= {"nnodes": plan.hardware.nodes}
    return [f"--{name}={value}" for name, value in settings.items()]
