"""Whether a trainer trained as the trial asks: it read the trial's text at its ratio, with its LR, to its last step."""

from __future__ import annotations

import math
from collections.abc import Iterator

from analysis.launch.plan.schedule import taken
from sweep.external.runs.trace import Losses, Trace
from sweep.external.trial.job import TrialJob
from sweep.study import LANGUAGES, numbers

LR = 1e-3  # relative
TOKENS = 0.001  # of all: a blend rounds to sequences
BEFORE = 0.05  # nats per token: another precision or kernel is far less, another model or text far more


def faults(job: TrialJob, found: Trace, base: Losses) -> list[str]:
    """One line for each point in which it did not. `base`: the base model's held-out losses as we measured them."""
    return [*_text(job, found), *_steps(job, found), *_lr(job, found), *_before(found, base), *_measured(found)]


def _text(job: TrialJob, found: Trace) -> Iterator[str]:
    if found.foreign:
        yield f"it read text that is not the trial's: {found.foreign:,} of its rows or tokens"
    if not found.tokens:
        yield "it does not tell the tokens that it read of each language"
        return
    total, training = sum(found.tokens.values()), job.study.training
    bound = max(training.sequence_length, TOKENS * training.tokens)
    shares = {"original": 1 - job.trial.almr, "additional": job.trial.almr}
    for name in LANGUAGES:
        count, wanted = found.tokens.get(name, 0), shares[name] * training.steps * training.global_batch_tokens
        if abs(count - wanted) > bound:
            share = numbers.almr(found.tokens.get("additional", 0) / total) if total else "unknown"
            yield (
                f"it read {count:,} tokens of the {name} language, but ALMR {numbers.almr(job.trial.almr)} asks for "
                f"{wanted:,.0f}: its ALMR was {share}"
            )
            return


def _steps(job: TrialJob, found: Trace) -> Iterator[str]:
    last = max(found.by_step, default=0)
    if found.steps and last != job.steps:
        yield f"its log ends at step {last:,} of {job.steps:,}"


def _lr(job: TrialJob, found: Trace) -> Iterator[str]:
    """The first step whose LR is not that of the schedule, as this trainer takes it."""
    training = job.study.training
    schedule = taken(training.lr_schedule(training.steps), job.study.trainer.name)
    for step in sorted(found.steps, key=lambda one: one.step):
        wanted = job.trial.lr * schedule.share(step.step - 1)
        if step.lr is not None and not math.isclose(step.lr, wanted, rel_tol=LR, abs_tol=LR * LR * job.trial.lr):
            yield f"its LR at step {step.step:,} was {step.lr:.4g}, but the trial's schedule has {wanted:.4g}"
            return


def _before(found: Trace, base: Losses) -> Iterator[str]:
    for name, loss in found.before.items():
        if name in base and not abs(loss - base[name]) <= BEFORE:
            yield (
                f"its held-out loss of {name} before training was {loss:.4f}, ours of the base model is "
                f"{base[name]:.4f}: it began with another model, or was measured on other text"
            )
            return


def _measured(found: Trace) -> Iterator[str]:
    if not found.model and not {*LANGUAGES} <= found.after.keys():
        yield "it left neither a model nor a held-out loss of each language"
