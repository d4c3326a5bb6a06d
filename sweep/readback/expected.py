"""What a bundle must mean, whatever the trainer: the winner's numbers, and the same read from a trainer's files."""

from __future__ import annotations

import math
from typing import Any

from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.plan.ratio import token_share
from analysis.launch.plan.schedule import lr_share, probe_steps

RELATIVE = 1e-6


def expected(plan: LaunchPlan) -> dict[str, Any]:
    """The numbers that every trainer states in some way, under the names that the readers give them."""
    recipe = plan.study.training.optimizer
    return {
        "lr": plan.lr,
        "almr": plan.almr,
        "steps": plan.steps,
        "tokens": plan.tokens,
        "global_batch_tokens": plan.launch.global_batch_tokens,
        "sequence_length": plan.launch.sequence_length,
        "warmup_steps": plan.warmup_steps,
        "checkpoint_steps": plan.checkpoint_steps,
        "seed": plan.seed,
        "beta1": recipe.beta1,
        "beta2": recipe.beta2,
        "epsilon": recipe.epsilon,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
    }


def question(plan: LaunchPlan) -> dict[str, Any]:
    """What a reader is asked beside the files: the GPUs that share a batch, and the steps whose LR it is to give."""
    return {"processes": plan.launch.processes, "steps": probe_steps(plan.parts)}


def differences(plan: LaunchPlan, found: dict[str, Any]) -> list[str]:
    """One line for each value that is not the winner's; `found` is a reader's answer."""
    wanted, found = expected(plan), _as_tokens(plan, found)
    lines = [
        f"{name}: {found.get(name)!r} where the winner has {value!r}"
        for name, value in wanted.items()
        if name not in found.get("not_stated", ()) and not _same(found.get(name), value)
    ]
    return lines + _schedule(plan, found)


def _as_tokens(plan: LaunchPlan, found: dict[str, Any]) -> dict[str, Any]:
    """A share of documents is of tokens by the mean tokens of a document; the other shares are of tokens."""
    shares = found.pop("document_shares", None)
    if shares is None:
        return found
    lengths = {name: source.facts.tokens_per_document for name, source in plan.sources.items()}
    probability = shares.get("additional", 0.0) / sum(shares.values())
    return found | {"almr": token_share(probability, lengths["original"], lengths["additional"])}


def _same(found: Any, value: float) -> bool:
    return found is not None and math.isclose(found, value, rel_tol=RELATIVE, abs_tol=1e-12)


def _schedule(plan: LaunchPlan, found: dict[str, Any]) -> list[str]:
    """Trainers count a step from 0 or from 1: the LR must lie between those of a step and of the next."""
    schedule, lines = plan.study.training.schedule, []
    for step, lr in zip(probe_steps(plan.parts), found.get("lrs") or [], strict=False):
        around = [plan.lr * lr_share(schedule, plan.parts, at) for at in (step, step + 1)]
        # A warm-up may also begin at 0 where the trials' begins at the last LR, and the other way round.
        slack = plan.lr * (schedule.min_lr if step < plan.warmup_steps else RELATIVE)
        if not min(around) - slack <= lr <= max(around) + slack:
            lines.append(f"LR of step {step}: {lr:.6g} where the winner's schedule has {around[0]:.6g}")
    return lines if found.get("lrs") else ["schedule: the reader gave no LR"]
