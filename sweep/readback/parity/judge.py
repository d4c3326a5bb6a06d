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
from sweep.readback.parity.trace import LoggedStep, Losses, Trace

FIRST_LOSS, LOSS, RESUMED = 1e-5, 1e-3, 1e-6  # nats per token
NORM, LR = 1e-4, 1e-6  # relative
NORM_BFLOAT16 = 0.05
TOKENS = 0.001  # of all: a blend rounds to sequences
STEPS_IN_NOISE = 3.0  # a batch's loss has fewer tokens than the held-out text


@dataclass(frozen=True)
class ParityBounds:
    """Of the differences: the loss and the gradient's norm of step 1, the LR, the loss of any step, and the held-out
    losses, `final` by language where they have bounds of their own.
    """

    first_loss: float = FIRST_LOSS
    norm: float = NORM
    lr: float = LR
    loss: float = LOSS
    held_out: float = LOSS
    before: float = FIRST_LOSS
    final: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def of(precision: str, noise: Mapping[str, float]) -> ParityBounds:
        """`noise`: of the fit, in nats by language."""
        if precision == "float32":
            return ParityBounds()
        least = {name: max(sd, LOSS) for name, sd in noise.items()}
        most = max(least.values(), default=LOSS)
        return ParityBounds(
            first_loss=most,
            norm=NORM_BFLOAT16,
            loss=STEPS_IN_NOISE * most,
            held_out=most,
            before=most,
            final=least,
        )


EXACT = ParityBounds(first_loss=RESUMED, norm=RESUMED, lr=RESUMED, loss=RESUMED, held_out=RESUMED, before=RESUMED)


def judge(wanted: Trace, found: Trace, steps: int, bounds: ParityBounds) -> tuple[ParityCheck, ...]:
    """The checks of a run of `steps` optimizer steps, `found`, that should be as `wanted`."""
    return (
        *_held_out("base model's loss", wanted.before, found.before, dict.fromkeys(wanted.before, bounds.before)),
        *_first(wanted, found, bounds),
        _finished(wanted, found, steps),
        *_each_step(wanted, found, bounds),
        *_tokens(wanted, found),
        *_held_out("loss after training", wanted.after, found.after, _final(wanted.after, bounds)),
    )


def resumed(wanted: Trace, found: Trace, steps: int, stopped_at: int | None) -> tuple[ParityCheck, ...]:
    """The checks of a run that was killed and started again, beside the same run without a break. `stopped_at`: the
    step of the checkpoint that it resumed from; None where it began at step 1.
    """
    began = None if stopped_at is not None else "it began at step 1"
    again = ParityCheck(what="resumed from its checkpoint", wanted=stopped_at, found=stopped_at, fault=began)
    _, *checks = _each_step(wanted, found, EXACT)
    after = _held_out("loss after training", wanted.after, found.after, _final(wanted.after, EXACT))
    return (again, _finished(wanted, found, steps), *checks, *after)


def _final(losses: Losses, bounds: ParityBounds) -> dict[str, float]:
    return {name: bounds.final.get(name, bounds.held_out) for name in losses}


def _held_out(what: str, wanted: Losses, found: Losses, bounds: dict[str, float]) -> Iterator[ParityCheck]:
    for name, value in wanted.items():
        yield _compared(what, value, found.get(name), bounds[name]).model_copy(update={"of": name})


def _first(wanted: Trace, found: Trace, bounds: ParityBounds) -> Iterator[ParityCheck]:
    """Step 1 has the base model's loss on the first batch, and its gradient."""
    right, own = wanted.by_step.get(1, LoggedStep(step=1)), found.by_step.get(1, LoggedStep(step=1))
    yield _compared("loss of step 1", right.loss, own.loss, bounds.first_loss)
    norm = _compared("gradient norm of step 1", right.grad_norm, own.grad_norm, bounds.norm)
    yield norm.model_copy(update={"relative": True})


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
    """The check at the step where two logs differ most."""
    own = {n: one.lr if what == "LR" else one.loss for n, one in found.by_step.items()}
    checks = [
        _compared(what, value, own.get(n), bound).model_copy(update={"step": n, "relative": what == "LR"})
        for n, value in wanted.items()
        if value is not None and n in own
    ]
    measured = [check for check in checks if check.fault or check.difference is not None]
    return max(measured, key=_size, default=ParityCheck(what=what, bound=bound))


def _size(check: ParityCheck) -> float:
    """The first fault before any difference: later ones follow from it."""
    if check.fault:
        return 1e30 - (check.step or 0)
    return check.difference or 0.0


def _compared(what: str, wanted: float | None, found: float | None, bound: float) -> ParityCheck:
    if found is not None and not math.isfinite(found):
        return ParityCheck(what=what, wanted=wanted, bound=bound, fault="not a finite number")
    return ParityCheck(what=what, wanted=wanted, found=found, bound=bound)


def _tokens(wanted: Trace, found: Trace) -> Iterator[ParityCheck]:
    """The tokens that were read of each language, where the trainer counts them."""
    total = sum(wanted.tokens.values())
    for name, count in wanted.tokens.items():
        if found.tokens:
            check = _compared("tokens", count, found.tokens.get(name, 0), max(1.0, TOKENS * total))
            yield check.model_copy(update={"of": name})
