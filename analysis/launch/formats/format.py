"""What a trainer format is to the bundle, and what formats share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.scripts.torchrun import BESIDE, Command


class Format(NamedTuple):
    """`write` writes the trainer's own files into a folder and returns what to know before using them; `ratio` says
    in lines what the token ratio is there; `command` starts it.
    """

    trainer: str
    write: Callable[[LaunchPlan, Path], list[str]]
    ratio: Callable[[LaunchPlan], list[str]]
    command: Callable[[LaunchPlan], Command]


def checkpoints_folder(plan: LaunchPlan, name: str, settings: Any) -> str:
    """Beside the bundle, which another export replaces, in a folder of these very settings: a trainer goes on from
    whatever checkpoint it finds, and after another export it must find none. Relative to the format's folder.
    """
    return f"{BESIDE}/{checkpoints_name(plan, name, settings)}"


def checkpoints_name(plan: LaunchPlan, name: str, settings: Any) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:8]
    return f"checkpoints-{plan.study.name}-{name}-{digest}"


def differences(plan: LaunchPlan, trainer: str, used: tuple[str, ...] = ()) -> list[str]:
    """What a trainer that computes in bfloat16 does otherwise than the trials, or than the launch asks; of the degrees
    of parallelism it uses those of `used` alone.
    """
    found = []
    if plan.study.training.precision == "float32":
        found.append(f"{trainer} computes in bfloat16; the trials did in float32 (training.precision)")
    return [*found, *unused(plan, trainer, used)]


def unused(plan: LaunchPlan, trainer: str, used: tuple[str, ...] = ()) -> list[str]:
    """Degrees of parallelism that the launch states and the format does not use."""
    return [
        f"{trainer}: launch.{kind}_parallel {degree} is not used: GPUs share one copy's state instead"
        for kind in ("tensor", "pipeline", "context")
        if kind not in used and (degree := getattr(plan.launch, f"{kind}_parallel") or 1) > 1
    ]


def visible(text: str) -> str:
    """One line of a comment, also of text that holds line breaks or control characters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def single_lines(plan: LaunchPlan) -> list[str]:
    return [f"Ratio: ALMR {plan.almr:.6g} leaves the {plan.used[0].language} corpus alone; there is nothing to mix."]


def explanation(plan: LaunchPlan, trainer: str, ratio: list[str], name: str) -> list[str]:
    """What stands on top of a trainer's file: where its numbers come from, its warnings, ratio, batch and steps."""
    warnings = [*plan.fit_warnings, *plan.warnings]
    return [
        f"Continual pre-training of {plan.launch.model} with {trainer}.",
        f"The study {plan.study.name} chose its ratio and LR: see ../evidence.json. Run start.sh on every node.",
        *risk_lines(plan),
        *(["", "Warnings:"] if warnings else []),
        *(f"- {warning}" for warning in warnings),
        "",
        *ratio,
        "",
        *plan.layout(name).lines(plan.launch),
        f"Steps: {plan.steps:,} x {plan.launch.global_batch_tokens:,} tokens = {plan.tokens:,} tokens "
        f"({plan.difference})",
    ]


def risk_lines(plan: LaunchPlan) -> list[str]:
    if plan.accepted_risk is None:
        return []
    count = len(plan.accepted_risk.refusals)
    return [
        f"THE FIT REFUSED THIS WINNER: the first {'warning says' if count == 1 else f'{count} warnings say'} why.",
        f"Exported all the same, for this reason: {plan.accepted_risk.reason}",
    ]


def comment(lines: list[str]) -> str:
    return "".join(f"# {visible(line)}".rstrip() + "\n" for line in lines)
