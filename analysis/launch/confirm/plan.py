"""The confirmation: brief runs at the launch's own size, at a few LRs around the chosen one. What they are and cost."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.fit_file.fit_file import FitFile
from analysis.fit_file.result import FitResult
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.transfer import sizes
from sweep.study.errors import InputError
from sweep.study.fields import Schema
from sweep.study.sections.transfer import TransferRule
from sweep.study.sizes.gpus import GPUS

FOLDER = "confirm"
COLUMNS = ("lr", "seed", "status", "loss_original", "loss_additional")
SHARE, LEAST_STEPS = 0.01, 100
SAME = 1e-4  # far under any interval


class ConfirmPlan(Schema):
    """`lr` is what the rule predicts for a run of `tokens`, the LR to be confirmed; `lrs` are run. `noise` (nats) is a
    run's sd by the sweep. `flops` by 6 x parameters x tokens; `gpu_hours` None where GPU or MFU is not stated.
    """

    model: str
    almr: float
    lr: float
    launch_lr: float
    launch_tokens: int
    global_batch_tokens: int
    sequence_length: int
    lrs: tuple[float, ...]
    steps: int
    tokens: int
    total_tokens: int
    share_of_launch: float
    flops: float | None
    gpu_hours: float | None
    tolerance: float
    noise: float
    level: float
    weights: dict[str, float]
    notes: tuple[str, ...]

    def confirms(self, other: ConfirmPlan) -> bool:
        """Whether both are of one launch. Numbers of the fit may differ in late digits: another processor adds in
        another order.
        """
        if self._launch != other._launch or self.weights.keys() != other.weights.keys():
            return False
        pairs = zip(self._fitted, other._fitted, strict=True)
        return all(math.isclose(mine, theirs, rel_tol=SAME, abs_tol=SAME) for mine, theirs in pairs)

    @property
    def _launch(self) -> tuple[object, ...]:
        return self.model, self.launch_tokens, self.global_batch_tokens, self.sequence_length

    @property
    def _fitted(self) -> tuple[float, ...]:
        return (
            self.almr,
            math.log(self.lr),
            math.log(self.launch_lr),
            *(self.weights[name] for name in sorted(self.weights)),
        )

    @property
    def lines(self) -> list[str]:
        cost = f"{self.gpu_hours:,.0f} GPU-hours" if self.gpu_hours is not None else "GPU-hours not known"
        return [
            f"confirm {self.model} at ALMR {self.almr:.4g}: {len(self.lrs)} runs of {self.steps:,} steps, "
            f"{self.tokens:,} tokens each",
            f"LRs: {', '.join(f'{lr:.4g}' for lr in self.lrs)}; predicted best for so many tokens: {self.lr:.4g}",
            f"in all {self.total_tokens:,} tokens, {self.share_of_launch:.2%} of the launch; {cost}",
            f"the transfer holds where the predicted LR costs at most {self.tolerance:g} nats per token over the best",
            *self.notes,
        ]


def make(fit: FitResult, plan: LaunchPlan) -> ConfirmPlan:
    """Raises InputError for a budget under one global batch, or over the launch's."""
    launch, transfer = plan.launch, fit.file.transfer
    assert transfer is not None  # a plan was made from it
    rule = launch.transfer or TransferRule(rule="direct")
    steps = _steps(plan, rule)
    tokens = steps * launch.global_batch_tokens
    lr = transfer.lr_at(tokens / plan.tokens)
    lrs = np.geomspace(lr / rule.confirm.factor, lr * rule.confirm.factor, rule.confirm.runs)
    parameters = sizes.step(plan.study, rule).launch.parameters
    flops = 6.0 * parameters * tokens * len(lrs) if parameters else None
    return ConfirmPlan(
        model=launch.model,
        almr=transfer.almr,
        lr=lr,
        launch_lr=transfer.lr,
        launch_tokens=plan.tokens,
        global_batch_tokens=launch.global_batch_tokens,
        sequence_length=launch.sequence_length,
        lrs=tuple(float(f"{one:.6g}") for one in lrs),
        steps=steps,
        tokens=tokens,
        total_tokens=tokens * len(lrs),
        share_of_launch=tokens * len(lrs) / plan.tokens,
        flops=flops,
        gpu_hours=_gpu_hours(plan, flops),
        tolerance=rule.confirm.tolerance,
        noise=noise(fit.file),
        level=fit.file.winner.level,
        weights=weights(fit.file),
        notes=tuple(_notes(fit, lrs[-1], steps)),
    )


def weights(file: FitFile) -> dict[str, float]:
    """Of the languages' losses in what is minimised."""
    return {name: share for name, share in (file.weights or {"additional": 1.0}).items() if share}


def noise(file: FitFile) -> float:
    return math.hypot(*(share * file.noise[name] for name, share in weights(file).items()))


def _steps(plan: LaunchPlan, rule: TransferRule) -> int:
    batch, asked = plan.launch.global_batch_tokens, rule.confirm.tokens
    steps = round(asked / batch) if asked else max(math.ceil(SHARE * plan.steps), LEAST_STEPS)
    if steps < 1:
        raise InputError(f"launch.transfer.confirm.tokens {asked} is less than one global batch: write {batch} or more")
    if asked and steps > plan.steps:
        raise InputError(
            f"launch.transfer.confirm.tokens {asked} is more than the launch: write less than {plan.tokens}"
        )
    return min(steps, plan.steps)


def _gpu_hours(plan: LaunchPlan, flops: float | None) -> float | None:
    resources = plan.study.resources
    gpu = getattr(plan.launch, "gpu", None) or resources.gpu
    if flops is None or gpu is None or not resources.mfu:
        return None
    return flops / (GPUS[gpu].flops * resources.mfu) / 3600


def _notes(fit: FitResult, highest: float, steps: int) -> list[str]:
    transfer = fit.file.transfer
    assert transfer is not None
    found = []
    if transfer.tokens is None:
        found.append("the rule says nothing of the budget: the best LR of these brief runs is taken for the launch's")
    if transfer.edge and transfer.edge.lr is not None and highest > transfer.edge.lr:
        found.append(f"LRs over {transfer.edge.lr:.3g} may diverge: write status diverged, it is data")
    if steps < LEAST_STEPS:
        found.append(f"{steps} steps are few: the warm-up takes much of them")
    return found


def write(
    confirm: ConfirmPlan,
    plan: LaunchPlan,
    folder: Path,
    formats: tuple[str, ...],
    write_format: Callable[[LaunchPlan, str, Path], object],
) -> None:
    """plan.json, the table to fill in, and for each LR and format the launch's own files with that LR and budget.

    A run's folder lies beside the launch's, so that what it names by relative paths is at the same place.
    """
    (folder / FOLDER).mkdir()
    (folder / FOLDER / "plan.json").write_text(confirm.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / FOLDER / "results-template.csv").write_text(template(confirm, plan), encoding="utf-8")
    for name in formats:
        for where, run in runs(confirm, plan, name):
            write_format(run, name, folder / where)


def runs(confirm: ConfirmPlan, plan: LaunchPlan, name: str) -> Iterator[tuple[str, LaunchPlan]]:
    """The folder and the plan of each brief run of a format."""
    brief = plan.launch.model_copy(update={"tokens": confirm.tokens, "checkpoints": 1})
    for i, lr in enumerate(confirm.lrs):
        yield f"{FOLDER}-{i + 1}-{name}", replace(plan, launch=brief, lr=lr)


def template(confirm: ConfirmPlan, plan: LaunchPlan) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows([repr(lr), plan.study.grid.seeds[0], "", "", ""] for lr in confirm.lrs)
    return text.getvalue()
