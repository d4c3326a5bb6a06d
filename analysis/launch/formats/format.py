"""The interface of a trainer format, and the text that all formats share."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Protocol

from analysis.launch.plan.launch_plan import NOT_TRIED, LaunchPlan
from analysis.launch.scripts.torchrun import Command
from sweep.study import numbers as formats
from sweep.study.record import simulated_losses
from sweep.study.sections.text import stages

TAG = re.compile(r"(?<!\\)<(?=[A-Za-z/!?])")
TEMPLATES = Path(__file__).with_name("templates")


class Format(Protocol):
    """What a format's module has. `write` writes the trainer's own files into a folder and returns warnings;
    `command` starts the trainer.
    """

    TRAINER: str

    def write(self, plan: LaunchPlan, folder: Path) -> list[str]: ...

    def command(self, plan: LaunchPlan) -> Command: ...


def checkpoints_folder(plan: LaunchPlan, name: str, settings: Any) -> str:
    """Relative to the format's folder: beside the bundle, which the next export replaces.

    The name holds a hash of the settings: a trainer resumes from any checkpoint that it finds, and after an export with
    other settings it must find none.
    """
    return f"{plan.beside}/{checkpoints_name(plan, name, settings)}"


def checkpoints_name(plan: LaunchPlan, name: str, settings: Any) -> str:
    settings = [settings, plan.origin.before] if plan.origin else settings
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:8]
    return f"checkpoints-{plan.study.name}-{name}-{digest}"


def differences(plan: LaunchPlan, trainer: str, used: tuple[str, ...] = ()) -> list[str]:
    """Warnings: how a trainer differs from the trials and the launch. `used`: see `unused`."""
    found, trials = [], plan.study.training.precision
    if trials != plan.precision:
        found.append(f"{trainer} computes in {plan.precision}, the trials in {trials} (training.precision)")
    return [*found, *unused(plan, trainer, used)]


def unused(plan: LaunchPlan, trainer: str, used: tuple[str, ...] = ()) -> list[str]:
    """Warnings about degrees of parallelism that the launch states and the format does not use, as it uses `used`."""
    return [
        f"{trainer} does not use launch.{kind}_parallel {degree}: it shards one copy over the GPUs instead"
        for kind in ("tensor", "pipeline", "context")
        if kind not in used and (degree := getattr(plan.launch, f"{kind}_parallel") or 1) > 1
    ]


def visible(text: str) -> str:
    """The text in one line: line breaks and control characters are escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def cell(text: str) -> str:
    """The text in one line, for a cell of a Markdown table."""
    return visible(text).replace("|", "\\|")


def inert(markdown: str) -> str:
    """Markdown without HTML: a tag that a name holds is shown, and not made."""
    return TAG.sub("\\<", markdown)


def ratio_lines(plan: LaunchPlan, first: str, *more: str) -> list[str]:
    """The token ratio in a trainer's terms: `first` ends the first line. Nothing is mixed where one corpus is used."""
    almr = formats.almr(plan.almr)
    if len(plan.used) < 2:
        return [f"Ratio: ALMR {almr} uses only the {plan.label(plan.used[0])} corpus; there is nothing to mix."]
    return [f"Ratio: ALMR {almr} is a share of tokens{first}", *more]


def head(plan: LaunchPlan, trainer: str, ratio: list[str], name: str, *more: str) -> str:
    """The comment at the head of a trainer's file: its parity run, the source of its numbers, ratio and steps. The
    bundle's README.md has the warnings and the layout, once for all files.
    """
    model = plan.origin.words if plan.origin else plan.launch.model
    lines = [
        plan.parity.get(name, NOT_TRIED),
        f"{stages.NAMES[plan.study.training.stage]} of {model} with {trainer}.",
        f"{_source(plan)} Run start.sh on every node.",
        *risk_lines(plan),
        f"Read {plan.bundle}/GO.md and the warnings in {plan.bundle}/README.md first.",
        "",
        *ratio,
        f"Steps: {plan.steps:,} x {plan.launch.global_batch_tokens:,} tokens = {plan.tokens:,} tokens "
        f"({plan.difference})",
        *more,
    ]
    return comment(lines)


def _source(plan: LaunchPlan) -> str:
    """Where ratio and LR are from."""
    if plan.origin:
        return f"Ratio and LR are those of post_training.{plan.origin.stage}.grid: no trial chose them."
    return f"Ratio and LR are from the study {plan.study.name}."


def risk_lines(plan: LaunchPlan) -> list[str]:
    """What nobody may overlook who opens only this file."""
    simulated = [simulated_losses(plan.simulated)] if plan.simulated else []
    if plan.accepted_risk is None:
        return simulated
    codes = ", ".join(dict.fromkeys(refusal.code for refusal in plan.accepted_risk.refusals))
    refused = f"THE FIT REFUSED THIS WINNER ({codes}), and it was exported at a risk that was accepted: see ../GO.md."
    return [*simulated, refused]


def comment(lines: list[str]) -> str:
    return "".join(f"# {visible(line)}".rstrip() + "\n" for line in lines)
