"""Compares what a trainer logged with what it should have logged, number by number, within bounds.

In float32, on equal blocks, all trainers that train as our own do kept within these bounds, and each fault that was
seen is over ten times them: end-of-text not trained 0.12 nats at step 1, documents that see each other 0.03, positions
without a mask 0.08, another order of the data 0.02 at the end. In bfloat16 the order of sums differs between trainers:
there the bound of a loss is the noise of the sweep's fit, the sd of one trial's loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from analysis.launch.evidence.parity import ParityCheck
from sweep.external.runs.trace import LoggedStep, Losses, Trace
from sweep.study import LANGUAGES

FIRST_LOSS, LOSS, RESUMED = 1e-5, 1e-3, 1e-6  # nats per token
BEFORE = 1e-4  # nats per token: some trainers average batches of unequal numbers of targets
NORM, LR = 1e-4, 1e-6  # relative
NORM_BFLOAT16 = 0.05
TOKENS = 0.001  # of all: a blend rounds to sequences
ROUNDING = 1e-9
STEPS_IN_NOISE = 3.0  # a batch's loss has fewer tokens than the held-out text


@dataclass(frozen=True)
class ParityBounds:
    """Of the differences: the loss and the gradient's norm of step 1, the LR, the loss of any step, and the held-out
    losses, `final` by language where they have bounds of their own. Tokens of a language may differ by a `sequence`.
    """

    first_loss: float = FIRST_LOSS
    norm: float = NORM
    lr: float = LR
    loss: float = LOSS
    held_out: float = LOSS
    before: float = BEFORE
    final: Mapping[str, float] = field(default_factory=dict)
    sequence: int = 1

    @staticmethod
    def of(precision: str, noise: Mapping[str, float], sequence: int = 1) -> ParityBounds:
        """`noise`: of the fit, in nats by language; `sequence`: tokens of a sequence."""
        if precision == "float32":
            return ParityBounds(sequence=sequence)
        least = {name: max(sd, LOSS) for name, sd in noise.items()}
        most = max(least.values(), default=LOSS)
        return ParityBounds(
            first_loss=most,
            norm=NORM_BFLOAT16,
            loss=STEPS_IN_NOISE * most,
            held_out=most,
            before=most,
            final=least,
            sequence=sequence,
        )


EXACT = ParityBounds(first_loss=RESUMED, norm=RESUMED, lr=RESUMED, loss=RESUMED, held_out=RESUMED, before=RESUMED)


def judge(
    wanted: Trace, found: Trace, steps: int, bounds: ParityBounds, before: bool = True
) -> tuple[ParityCheck, ...]:
    """The checks of a run of `steps` optimizer steps, `found`, that should be as `wanted`. `before`: whether the
    trainer has to tell the base model's loss.
    """
    base = _held_out(
        "base model's loss", wanted.before, found.before, dict.fromkeys(_named(wanted.before), bounds.before)
    )
    return (
        *(check.model_copy(update={"required": before}) for check in base),
        *_first(wanted, found, bounds),
        _finished(wanted, found, steps),
        *_each_step(wanted, found, bounds),
        *_tokens(wanted, found, bounds),
        *_held_out("loss after training", wanted.after, found.after, _final(wanted.after, bounds)),
    )


def resumed(
    wanted: Trace, found: Trace, steps: int, stopped_at: int | None, bounds: ParityBounds = EXACT
) -> tuple[ParityCheck, ...]:
    """The checks of a run that was killed and started again, beside the same run without a break. `stopped_at`: the
    step of the checkpoint that it resumed from; None where it began at step 1. `EXACT` on a CPU in float32 alone: sums
    on a GPU may have another order each time.
    """
    began = None if stopped_at is not None else "it began at step 1"
    again = ParityCheck(what="resumed from its checkpoint", wanted=stopped_at, found=stopped_at, fault=began)
    _, *checks = _each_step(wanted, found, bounds)
    after = _held_out("loss after training", wanted.after, found.after, _final(wanted.after, bounds))
    return (again, _finished(wanted, found, steps), *checks, *after)


def _final(losses: Losses, bounds: ParityBounds) -> dict[str, float]:
    return {name: bounds.final.get(name, bounds.held_out) for name in _named(losses)}


def _named(losses: Losses) -> list[str]:
    """Both languages, measured or not, and sources."""
    return list(dict.fromkeys([*LANGUAGES, *losses]))


def _held_out(what: str, wanted: Losses, found: Losses, bounds: dict[str, float]) -> Iterator[ParityCheck]:
    for name, bound in bounds.items():
        yield _compared(what, wanted.get(name), found.get(name), bound).model_copy(update={"of": name})


def _first(wanted: Trace, found: Trace, bounds: ParityBounds) -> Iterator[ParityCheck]:
    """Step 1 has the base model's loss on the first batch, and its gradient."""
    right, own = wanted.by_step.get(1, LoggedStep(step=1)), found.by_step.get(1, LoggedStep(step=1))
    yield _compared("loss of step 1", right.loss, own.loss, bounds.first_loss)
    norm = _compared("gradient norm of step 1", right.grad_norm, own.grad_norm, bounds.norm)
    logs = any(one.grad_norm is not None for one in found.steps)
    yield norm.model_copy(update={"relative": True, "required": logs})


def _finished(wanted: Trace, found: Trace, steps: int) -> ParityCheck:
    last = max(found.by_step, default=0)
    missing = wanted.by_step.keys() - found.by_step.keys()
    check = ParityCheck(what="steps", wanted=steps, found=last)
    if missing and last == steps:
        return check.model_copy(update={"fault": f"its log lacks {len(missing):,} steps, the first {min(missing):,}"})
    return check


def _each_step(wanted: Trace, found: Trace, bounds: ParityBounds) -> Iterator[ParityCheck]:
    yield _worst("LR", {n: one.lr for n, one in wanted.by_step.items()}, found, bounds.lr)
    yield _worst("loss of each step", {n: one.loss for n, one in wanted.by_step.items()}, found, bounds.loss)


def _worst(what: str, wanted: dict[int, float | None], found: Trace, bound: float) -> ParityCheck:
    """The check at the step where two logs differ most, or at the first step that one of them lacks."""
    own = {n: one.lr if what == "LR" else one.loss for n, one in found.by_step.items()}
    checks = [
        _compared(what, value, own.get(n), bound).model_copy(update={"step": n, "relative": what == "LR"})
        for n, value in wanted.items()
        if value is not None and n in own
    ]
    return max(checks, key=_rank, default=ParityCheck(what=what, bound=bound))


def _rank(check: ParityCheck) -> tuple[int, float]:
    """The first fault before any failure, since later ones follow from it; what was not measured before what passed."""
    if check.fault:
        return 3, -(check.step or 0)
    if check.difference is None:
        return 1, -(check.step or 0)
    return 2 if check.state == "fail" else 0, check.difference


def _compared(what: str, wanted: float | None, found: float | None, bound: float) -> ParityCheck:
    if found is not None and not math.isfinite(found):
        return ParityCheck(what=what, wanted=wanted, bound=bound, fault="not a finite number")
    return ParityCheck(what=what, wanted=wanted, found=found, bound=bound)


def _tokens(wanted: Trace, found: Trace, bounds: ParityBounds) -> Iterator[ParityCheck]:
    """The tokens that were read of each language."""
    bound = max(bounds.sequence, TOKENS * sum(wanted.tokens.values()))
    for name in LANGUAGES:
        count = found.tokens.get(name, 0) if found.tokens else None
        yield _compared("tokens", wanted.tokens.get(name), count, bound).model_copy(update={"of": name})


def text(found: Trace, almr: float, sequences: int) -> tuple[ParityCheck, ...]:
    """The checks of the text that a trainer read, whatever its losses are compared with: that it is the trial's, and
    that each global batch of `sequences` has the trial's ALMR, to a sequence.
    """
    own = ParityCheck(what="text that is not the trial's", wanted=0.0, found=found.foreign)
    wanted, bound = almr * sequences, 1.0 + ROUNDING
    counts = {step: batch.get("additional", 0) for step, batch in enumerate(found.batches, 1)}
    missing = found.by_step.keys() - counts.keys()
    mixture = ParityCheck(what="additional sequences of each batch", wanted=wanted, bound=bound)
    if missing or not counts:
        return own, mixture
    step = max(counts, key=lambda step: abs(counts[step] - wanted))
    return own, mixture.model_copy(update={"found": float(counts[step]), "step": step})
