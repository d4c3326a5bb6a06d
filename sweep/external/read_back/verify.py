"""Reads a bundle's files back with the trainers' own parsers and compares them, value by value, with the plan.

A reader is a separate script: it runs under the Python that has the trainer installed, and gets only the files.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from analysis.launch.evidence.evidence import ReadBack
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.plan.schedule import probe_steps, taken
from sweep.external.read_back.readers import native

READERS = Path(__file__).parent / "readers"
MISSING = 4  # a reader's exit status where its trainer is not installed
SECONDS = 600
TEXT = ("token_shares", "bos", "eos", "seed", "sequence_length", "global_batch_tokens")  # what the text depends on
ENVIRONMENTS = "ALMR_EXPORT_VENVS"  # a folder with one environment per format, from `make test-exports`
RELATIVE = 1e-6
SAME_LR = 1e-9  # a step earlier or later differs by far more


def interpreter(name: str) -> str:
    """The Python of the format's own environment where there is one: trainers cannot share an environment, nor ours."""
    found = Path(os.environ.get(ENVIRONMENTS) or "/nowhere", name, "bin", "python")
    return str(found) if name != "native" and found.exists() else sys.executable


def in_ours(name: str) -> bool:
    """Whether our own environment has the format's trainer: TRL is an extra of this package."""
    return name == "trl" and importlib.util.find_spec("trl") is not None


def verify(plan: LaunchPlan, folder: Path, name: str, python: str | None = None) -> ReadBack:
    """`folder` contains the format's files; `python` has the trainer installed (default: `interpreter(name)`)."""
    python = python or interpreter(name)
    # -I: a reader has the name of its trainer, so its folder must not be on the path. -B: no bytecode in a bundle.
    flags = ["-B"] if name == "native" else ["-I", "-B"]  # the native reader imports this package
    command = [python, *flags, str(READERS / "run.py"), name, str(folder.resolve()), json.dumps(question(plan))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return ReadBack(name=name, differences=None, why_not=str(error))
    last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
    if done.returncode == MISSING:
        why = f"{last[0]}: set {ENVIRONMENTS} to a folder with {name}/bin/python that has it installed"
        return ReadBack(name=name, differences=None, why_not=why)
    if done.returncode:
        return ReadBack(name=name, differences=(f"refused by the trainer's own parser: {last[0]}",))
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    text = {} if "token_shares" in answer else of_text(plan, folder)
    lines = [*differences(plan, name, text | answer), *_contradictions(text, answer)]
    return ReadBack(name=name, differences=tuple(lines), parsers=answer.pop("parsers"))


def of_text(plan: LaunchPlan, folder: Path) -> dict[str, Any]:
    """What study.yaml states, whose text is packed for a trainer that mixes none by itself."""
    stated = native.read((folder / plan.data).parent, question(plan))
    unstated = [key for key in stated["not_stated"] if key in TEXT]
    return {key: stated[key] for key in TEXT} | {"not_stated": unstated}


def _contradictions(text: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    return [
        f"{key}: {answer[key]!r}, but study.yaml, whose text is packed, has {text[key]!r}"
        for key in text
        if key in answer and not _same(answer[key], text[key])
    ]


def expected(plan: LaunchPlan) -> dict[str, Any]:
    """The numbers that every trainer's files state in some way, under the names that the readers use."""
    recipe, preference = plan.study.training.optimizer, plan.study.training.dpo
    return {
        "lr": plan.lr,
        "steps": plan.steps,
        "tokens": plan.tokens,
        "global_batch_tokens": plan.launch.global_batch_tokens,
        "sequence_length": plan.launch.sequence_length,
        "checkpoint_steps": plan.checkpoint_steps,
        "seed": plan.seed,
        "beta1": recipe.beta1,
        "beta2": recipe.beta2,
        "epsilon": recipe.epsilon,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "bos": plan.bos,
        "eos": plan.eos,
        **({"beta": preference.beta} if preference else {}),
    }


def question(plan: LaunchPlan) -> dict[str, Any]:
    """The second argument of a reader: the GPUs that share a batch, and the steps whose LR it returns."""
    return {"processes": plan.launch.processes, "steps": probe_steps(plan.schedule)}


def differences(plan: LaunchPlan, name: str, found: dict[str, Any]) -> list[str]:
    """One line for each value that differs from the plan's. `found`: the answer of the format's reader."""
    lines = [
        f"{key}: {found.get(key)!r}, but the winner has {value!r}"
        for key, value in expected(plan).items()
        if key not in found.get("not_stated", ()) and not _same(found.get(key), value)
    ]
    return [*_shares(plan, found), *lines, *_schedule(plan, name, found.get("lrs") or [])]


def _shares(plan: LaunchPlan, found: dict[str, Any]) -> list[str]:
    """One line for each corpus whose share of the tokens differs."""
    wanted, shares = plan.shares, found.get("token_shares") or {}
    return [
        f"share of the tokens of {name}: {shares.get(name, 0.0):.6g}, but the winner has {wanted.get(name, 0.0):.6g}"
        for name in dict.fromkeys((*wanted, *shares))
        if not _same(shares.get(name, 0.0), wanted.get(name, 0.0))
    ]


def _same(found: Any, value: float) -> bool:
    return found is not None and math.isclose(found, value, rel_tol=RELATIVE, abs_tol=1e-12)


def _schedule(plan: LaunchPlan, name: str, found: list[float]) -> list[str]:
    """The first step whose LR is not that of the schedule that this trainer can take, and how many are not."""
    steps, schedule = probe_steps(plan.schedule), taken(plan.schedule, name)
    if len(found) != len(steps):
        return [f"schedule: the reader returned {len(found)} LRs of {len(steps)} steps"]
    wanted = [plan.lr * schedule.share(step) for step in steps]
    wrong = [
        (step, lr, right)
        for step, lr, right in zip(steps, found, wanted, strict=True)
        if not math.isclose(lr, right, rel_tol=SAME_LR, abs_tol=SAME_LR * plan.lr)
    ]
    if not wrong:
        return []
    step, lr, right = wrong[0]
    return [
        f"LR of step {step}: {lr:.6g}, but the winner's schedule has {right:.6g}; {len(wrong):,} of the {len(steps):,} "
        f"compared steps differ"
    ]
