"""Estimates what the launch takes with a format: time, GPU-hours, cost, and the disk of its checkpoints."""

from __future__ import annotations

import math

from analysis.launch.plan.layout import LaunchHardware, plain
from sweep.study import Schema, Study
from sweep.study import numbers as formats
from sweep.study.sections.launch import Launch
from sweep.study.sections.transfer import TransferRule
from sweep.study.sizes.shape import BFLOAT16, FLOAT32, MOMENTS

KEPT = 2  # checkpoints: the newest may be torn by what ended the run
SHARE, LEAST_STEPS = 0.01, 100  # of a confirmation run, by default: part of the launch's steps
FEWEST = 20  # checkpoints of a launch, where it states no number
WHOLE = 100  # GPU-hours, from which decimals say nothing
HOUR, DAY = 3600, 86_400  # seconds
HOURLY = 60.0  # minutes between checkpoints, at most


class LaunchEstimate(Schema):
    """`step_seconds`: of an optimizer step. `gpus` is 0 on CPUs. `checkpoint_bytes`: of one checkpoint, with optimizer.
    `price`: of a GPU for an hour. `checkpoint_minutes`: of a trainer that saves by the clock. `memory` and
    `usable_memory`: bytes of one GPU, taken and usable; `why_not`: why they were not compared. None: not known.
    """

    steps: int
    gpus: int
    step_seconds: float | None
    checkpoint_steps: int
    kept_checkpoints: int
    checkpoint_bytes: float | None
    price: float | None
    checkpoint_minutes: float | None = None
    memory: float | None = None
    usable_memory: float | None = None
    why_not: str | None = None

    @property
    def seconds(self) -> float | None:
        return None if self.step_seconds is None else self.steps * self.step_seconds

    @property
    def gpu_hours(self) -> float | None:
        return None if self.seconds is None else self.gpus * self.seconds / HOUR

    @property
    def cost(self) -> float | None:
        return None if self.gpu_hours is None or self.price is None else self.gpu_hours * self.price

    @property
    def disk_bytes(self) -> float | None:
        """Of the checkpoints that are kept, and the one that is being written."""
        return None if self.checkpoint_bytes is None else (self.kept_checkpoints + 1) * self.checkpoint_bytes

    @property
    def lines(self) -> list[str]:
        return [self.time, self.disk]

    @property
    def time(self) -> str:
        if self.seconds is None or self.step_seconds is None:
            return "GPU-hours: not known: state launch.gpu, and launch.shape for a model that is not known"
        steps = f"{self.steps:,} steps x {self.step_seconds:.3g} s on {self.gpus} GPUs"
        return f"GPU-hours, estimated: {steps} = {spent(self.gpu_hours, self.seconds, self.cost)}"

    @property
    def disk(self) -> str:
        every = f"every {self.checkpoint_steps:,} steps"
        if self.checkpoint_minutes:
            every = f"every {self.checkpoint_minutes:g} minutes"
        elif self.step_seconds:
            every += f" ({formats.clock(self.checkpoint_steps * self.step_seconds)})"
        size, all_of_them = formats.size(self.checkpoint_bytes), formats.size(self.disk_bytes)
        if self.checkpoint_bytes is None:
            return f"checkpoints: {every}, {self.kept_checkpoints} kept; their size is not known"
        kept = f"{self.kept_checkpoints} kept and one that is being written: {all_of_them}"
        return f"checkpoints: {every}, {size} each; {kept}"


def spent(gpu_hours: float | None, seconds: float, cost: float | None) -> str:
    """GPU-hours, days and cost: 54,635 GPU-hours, 8.9 days, cost 136,588."""
    hours = f"{gpu_hours:,.0f}" if gpu_hours and gpu_hours >= WHOLE else formats.quantity(gpu_hours)
    days = f"{formats.quantity(seconds / DAY)} days" if seconds >= DAY else formats.clock(seconds)
    priced = "" if cost is None else f", cost {cost:,.0f}"
    return f"{hours} GPU-hours, {days}{priced}"


def estimate(name: str, study: Study, launch: Launch, target: LaunchHardware) -> LaunchEstimate:
    """Of a launch of `study` that may differ in its tokens."""
    layout = target.layouts.get(name) or plain(launch)
    parameters = target.shape.parameters if target.shape else None
    return LaunchEstimate(
        steps=launch.steps,
        gpus=launch.nodes * launch.gpus_per_node,
        step_seconds=layout.step_seconds,
        checkpoint_steps=checkpoint_steps(launch, target),
        kept_checkpoints=_kept(name, launch),
        checkpoint_bytes=parameters and parameters * _checkpoint_bytes(name, study),
        price=launch.price_per_gpu_hour,
        checkpoint_minutes=checkpoint_minutes(study, launch, target) if name == "native" else None,
        memory=layout.memory,
        usable_memory=layout.usable,
        why_not=layout.why_not,
    )


def checkpoint_steps(launch: Launch, target: LaunchHardware) -> int:
    """Steps between checkpoints, rounded up where the launch states their number: no more are written. Else at most an
    hour, by the slowest of the layouts, and at most a twentieth of the steps.
    """
    if launch.checkpoints:
        return math.ceil(launch.steps / launch.checkpoints)
    hour = math.floor(HOUR / target.step_seconds) if target.step_seconds else launch.steps
    return max(1, min(hour, launch.steps // FEWEST))


def checkpoint_minutes(study: Study, launch: Launch, target: LaunchHardware) -> float:
    """Minutes between the checkpoints of our own trainer, which saves by the clock: those of `checkpoint_steps` where
    the time of a step is known, else as the trials; at most an hour.
    """
    minutes = study.execution.checkpoint_minutes or HOURLY
    if target.step_seconds:
        minutes = checkpoint_steps(launch, target) * target.step_seconds / 60
    return min(float(f"{minutes:.3g}"), HOURLY)


def confirmation_steps(launch: Launch) -> int:
    """Steps of one confirmation run: as stated, else a part of the launch's."""
    stated = (launch.transfer or TransferRule(rule="direct")).confirm.tokens
    if stated:
        return round(stated / launch.global_batch_tokens)
    return min(max(math.ceil(SHARE * launch.steps), LEAST_STEPS), launch.steps)


def confirmation(name: str, study: Study, launch: Launch, target: LaunchHardware) -> str:
    """What all confirmation runs take with a format, one after another."""
    runs = (launch.transfer or TransferRule(rule="direct")).confirm.runs
    brief = launch.model_copy(update={"tokens": confirmation_steps(launch) * launch.global_batch_tokens})
    each = estimate(name, study, brief, target)
    what = f"{runs} confirmation runs x {each.steps:,} steps, one after another"
    takes, disk = "GPU-hours not known", confirmation_disk(name, study, launch, target)
    if each.seconds is not None and each.gpu_hours is not None:
        takes = spent(runs * each.gpu_hours, runs * each.seconds, None if each.cost is None else runs * each.cost)
    kept = "" if disk is None else f"; checkpoints, only the newest of each: {formats.size(disk)}"
    return f"{what}: {takes}{kept}"


def confirmation_disk(name: str, study: Study, launch: Launch, target: LaunchHardware) -> float | None:
    """Bytes of the checkpoints that the confirmation runs leave, with the one that is being written."""
    runs = (launch.transfer or TransferRule(rule="direct")).confirm.runs
    each = estimate(name, study, launch, target).checkpoint_bytes
    kept = KEPT if name == "torchtitan" else 1  # it refuses to keep one
    return each and (runs * kept + 1) * each


def kept_checkpoints(launch: Launch) -> int:
    """How many of the newest checkpoints stay: all where the launch states their number."""
    return max(launch.checkpoints or 0, KEPT)


def _kept(name: str, launch: Launch) -> int:
    """Our own trainer deletes a checkpoint when the next one is complete, and Megatron with --save-retain-interval too;
    the others keep a number.
    """
    alone = name == "native" or (name == "megatron" and not launch.checkpoints)
    return 1 if alone else kept_checkpoints(launch)


def _checkpoint_bytes(name: str, study: Study) -> float:
    """Of a parameter: float32 weights and both moments; the others add the bfloat16 weights."""
    if name == "native":
        return FLOAT32 + MOMENTS[study.training.optimizer.state]
    return 3 * FLOAT32 + (0 if name == "torchtitan" else BFLOAT16)
