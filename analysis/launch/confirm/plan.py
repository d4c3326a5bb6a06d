"""The plan of the confirmation runs, at the launch's size and at a few LRs around the prediction, and their cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from analysis.fit_file.fit_file import FitFile
from analysis.fit_file.result import FitResult
from analysis.launch.plan.estimate import DAY, HOUR, LEAST_STEPS, confirmation_disk, confirmation_steps, spent
from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.plan.step_time import mfu_of
from analysis.transfer import sizes
from sweep.study import LANGUAGES, InputError, Schema
from sweep.study import numbers as formats
from sweep.study.sections.launch import Format
from sweep.study.sections.transfer import TransferRule
from sweep.study.sizes.known import GPUS

TRAINER = "trainer"  # a column of the results: what trained a confirmation run
COLUMNS = ("lr", "seed", "status")  # then the losses
SAME_BUDGET = 1.05
SAME = 1e-4  # far below the width of any interval


class ConfirmPlan(Schema):
    """`lr` is the best LR that the rule predicts for a run of `tokens`; it is tested by runs at `lrs`. `noise` is the
    sweep's sd of one run, in nats. `flops`: of the launch's shape, where that is known, else 6 x parameters x tokens.
    `gpu_hours`, `days` (one run after another) and `cost` are of all runs, of the slowest format; None where the kind
    of GPU, or its price, is not stated. `gpus`: 0 on CPUs. `timed`: the hours are by the estimated time of a step,
    which takes more than its compute; else by FLOPs and MFU. `disk_bytes`: of the checkpoints, of the format with the
    largest. `tokens_exponent` is the rule's, with its sd: it carries an LR from these runs to the launch.
    `trained_by`: as in `LaunchPlan`.
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
    mfu: float | None = None
    mfu_source: str | None = None
    days: float | None = None
    cost: float | None = None
    gpus: int | None = None
    timed: bool = False
    disk_bytes: float | None = None
    tokens_exponent: float | None = None
    tokens_exponent_sd: float = 0.0
    trained_by: str = ""

    @property
    def horizon_ratio(self) -> float:
        """Tokens of the launch over those of a run."""
        return self.launch_tokens / self.tokens

    @property
    def carries(self) -> bool:
        """Whether an LR that these runs measure can be carried to the launch's tokens."""
        return self.tokens_exponent is not None or self.horizon_ratio < SAME_BUDGET

    def confirms(self, other: ConfirmPlan) -> bool:
        """Whether both plans are for one launch. Fitted numbers may differ in late digits, as between processors."""
        if self._launch != other._launch or self.weights.keys() != other.weights.keys():
            return False
        pairs = zip(self._fitted, other._fitted, strict=True)
        return all(math.isclose(mine, theirs, rel_tol=SAME, abs_tol=SAME) for mine, theirs in pairs)

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the table of results: the losses are those of both languages, or those of sources that are weighted."""
        losses = LANGUAGES if self.weights.keys() <= {*LANGUAGES} else tuple(self.weights)
        trainer = (TRAINER,) if self.trained_by else ()  # of trials by our own, the column may be added
        return (*COLUMNS, *trainer, *(f"loss_{name}" for name in losses))

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
    def _part_of_launch(self) -> str:
        if self.share_of_launch > 1:
            return f"{formats.times(self.share_of_launch)} those of the launch"
        return f"{formats.percent(self.share_of_launch, 2)} of the launch"

    @property
    def lines(self) -> list[str]:
        cost = "GPU-hours not known (state launch.gpu)"
        if self.gpus == 0:
            cost = "they run on CPUs, hours not estimated"
        elif self.gpu_hours is not None and self.days is not None and self.mfu:
            how = "by the estimated time of a step, its compute " if self.timed else ""
            at = f"{how}at {formats.percent(self.mfu)} MFU ({self.mfu_source})"
            cost = f"{spent(self.gpu_hours, self.days * DAY, self.cost)}, {at}"
        disk = "" if self.disk_bytes is None else f"; checkpoints: {formats.size(self.disk_bytes)} at most, in all"
        return [
            f"confirm {self.model} at ALMR {formats.almr(self.almr)}: {len(self.lrs)} runs of {self.steps:,} steps, "
            f"{formats.tokens(self.tokens)} tokens each",
            f"LRs: {', '.join(map(formats.lr, self.lrs))}; predicted best for this many tokens: {formats.lr(self.lr)}",
            f"in all: {formats.tokens(self.total_tokens)} tokens, {self._part_of_launch}; {cost}{disk}",
            f"the transfer holds if the predicted LR costs at most {self.tolerance:g} nats per token over the best",
            *([f"the trials were trained by {self.trained_by}"] if self.trained_by else []),
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
        tolerance=rule.confirm.tolerance,
        noise=noise(fit.file),
        level=fit.file.winner.level,
        weights=weights(fit.file),
        notes=tuple(_notes(fit, plan, lrs.tolist(), steps)),
        tokens_exponent=transfer.tokens.value if transfer.tokens else None,
        tokens_exponent_sd=transfer.tokens.sd if transfer.tokens else 0.0,
        trained_by=plan.trained_by,
        **_cost(plan, rule, steps * len(lrs)),
    )


def weights(file: FitFile) -> dict[str, float]:
    """The weights of the losses in the objective, of languages or sources, without its guards."""
    return {name: share for name, share in (file.weights or {"additional": 1.0}).items() if share}


def noise(file: FitFile) -> float:
    """The sd of one run's weighted loss, in nats."""
    return math.hypot(*(share * file.noise[name] for name, share in weights(file).items()))


def _steps(plan: LaunchPlan, rule: TransferRule) -> int:
    batch, stated, steps = plan.launch.global_batch_tokens, rule.confirm.tokens, confirmation_steps(plan.launch)
    if steps < 1:
        raise InputError(
            f"launch.transfer.confirm.tokens: {stated} is less than one global batch: write {batch} or more"
        )
    if stated and steps > plan.steps:
        raise InputError(
            f"launch.transfer.confirm.tokens: {stated} is more than the launch: write less than {plan.tokens}"
        )
    steps = min(steps, plan.steps)
    if fault := plan.study.training.schedule.fault(steps):
        raise InputError(f"launch.transfer.confirm.tokens: {stated or steps * batch}: training.{fault}")
    return steps


def _cost(plan: LaunchPlan, rule: TransferRule, steps: int) -> dict[str, Any]:
    """What so many steps of all runs take, as fields of `ConfirmPlan`: by the estimated time of a step in the slowest
    layout; before a layout is chosen, by FLOPs and MFU.
    """
    launch, target = plan.launch, plan.target
    gpus, price = launch.nodes * launch.gpus_per_node, launch.price_per_gpu_hour
    flops = _flops(plan, rule, steps)
    mfu, source = _mfu(plan, rule)
    gpu_hours = None
    if target.step_seconds:
        gpu_hours = steps * target.step_seconds * launch.processes / HOUR
    elif launch.gpu and flops and mfu:
        gpu_hours = flops / (GPUS[launch.gpu].flops * mfu) / HOUR
    disks = [confirmation_disk(name, plan.study, launch, target) for name in launch.formats]
    return {
        "flops": flops,
        "gpu_hours": gpu_hours,
        "mfu": mfu,
        "mfu_source": source,
        "days": gpu_hours / gpus / 24 if gpu_hours is not None and gpus else None,
        "cost": gpu_hours * price if gpu_hours is not None and price else None,
        "gpus": gpus,
        "timed": target.step_seconds is not None,
        "disk_bytes": max((disk for disk in disks if disk), default=None) if gpus else None,
    }


def _flops(plan: LaunchPlan, rule: TransferRule, steps: int) -> float | None:
    launch, shape = plan.launch, plan.target.shape
    parameters = sizes.step(plan.study, rule).launch.parameters
    each = shape.training_flops(launch.sequence_length) if shape else 6.0 * parameters if parameters else None
    return each * steps * launch.global_batch_tokens if each else None


def _mfu(plan: LaunchPlan, rule: TransferRule) -> tuple[float | None, str | None]:
    """Of the slowest format, and where the figure is from."""
    parameters = sizes.step(plan.study, rule).launch.parameters
    if plan.launch.gpu is None or parameters is None:
        return None, None
    timed = {name: layout.step_seconds or 0 for name, layout in plan.target.layouts.items()}
    slowest = max(timed, key=lambda name: timed[name], default=plan.launch.formats[0])
    return mfu_of(cast(Format, slowest), plan.study, parameters)


def _notes(fit: FitResult, plan: LaunchPlan, lrs: Sequence[float], steps: int) -> list[str]:
    transfer = fit.file.transfer
    assert transfer is not None
    found = []
    if transfer.tokens is None and steps * SAME_BUDGET < plan.steps:
        found.append(
            "the rule has no exponent of tokens: these runs test the LR, but do not rewrite the launch, which is "
            "longer: set launch.transfer.tokens_exponent and its source"
        )
    edge = transfer.edge.lr if transfer.edge else None
    if edge is not None and (over := sum(lr > edge for lr in lrs)):
        which = f"all {over}" if over == len(lrs) else f"{over} of the {len(lrs)}"
        found.append(
            f"warning: {which} LRs are above {formats.lr(edge)}, where a model of this size may "
            f"diverge. If a run diverges, record status=diverged; it still counts."
        )
    if steps < LEAST_STEPS:
        found.append(f"warning: {steps} steps are few, and the warm-up takes a large part of them")
    return found


def refuse_unmeasured(confirm: ConfirmPlan, plan: LaunchPlan) -> None:
    """Raises InputError where the runs measure a loss on no held-out text, so that nothing could be compared."""
    if unmeasured := plan.unmeasured(confirm.weights):
        raise InputError(
            f"launch.corpora: the confirmation runs measure no held-out loss of {', '.join(unmeasured)}, which the "
            f"objective weighs, so there is nothing to compare: set launch.evaluation, or almr prepare STUDY"
        )
