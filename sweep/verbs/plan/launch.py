"""The launch in a plan, as lines and as JSON."""

from __future__ import annotations

from typing import Any

from sweep.planning.launch import LaunchOutlook
from sweep.study import Study, numbers


def launch_lines(study: Study, outlook: LaunchOutlook | None) -> list[str]:
    if outlook is None:
        return []
    launch = outlook.launch
    tokens = launch.steps * launch.global_batch_tokens
    gpus = f"{launch.nodes} x {launch.gpus_per_node} {launch.gpu or 'GPUs'}" if launch.gpus_per_node else "CPUs"
    lines = [
        f"launch: {launch.model}, {launch.steps:,} steps x {launch.global_batch_tokens:,} tokens = "
        f"{numbers.tokens(tokens)} tokens, on {gpus}",
        *(f"launch text: {_text(study, outlook, name)}" for name in outlook.least),
    ]
    for name, takes in outlook.estimates.items():
        lines += [f"launch, {name}: {line}" for line in (*takes.lines, outlook.confirmations[name])]
    return [*lines, *(f"launch, {line}" for line in outlook.text_lines(study))]


def _text(study: Study, outlook: LaunchOutlook, name: str) -> str:
    source, passes = outlook.least[name], outlook.passes(name)
    label = source.label(study)
    if passes is None or source.size is None:
        fix = f"tokens of launch.corpora.{name}" if source.own else "launch.corpora, with tokens"
        return f"{label}: its size is not known, nor how often it is read: state {fix}"
    size = f"{numbers.tokens(source.size.tokens)} tokens, {source.size.source}"
    return f"{label}: read {numbers.times(passes[0])} to {numbers.times(passes[1])} over the grid's ALMRs ({size})"


def launch_json(outlook: LaunchOutlook | None) -> dict[str, Any] | None:
    """None where the study has no launch, and for numbers that are not known."""
    if outlook is None:
        return None
    return {
        "steps": outlook.launch.steps,
        "tokens": outlook.launch.steps * outlook.launch.global_batch_tokens,
        "corpora": {
            name: {
                "tokens": source.size.tokens if source.size else None,
                "tokens_from": source.size.source if source.size else None,
                "passes": outlook.passes(name),
            }
            for name, source in outlook.least.items()
        },
        "formats": {
            name: takes.model_dump(mode="json")
            | {
                "gpu_hours": takes.gpu_hours,
                "seconds": takes.seconds,
                "cost": takes.cost,
                "disk_bytes": takes.disk_bytes,
                "confirmation": outlook.confirmations[name],
            }
            for name, takes in outlook.estimates.items()
        },
    }
