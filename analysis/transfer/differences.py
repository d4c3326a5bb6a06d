"""Differences between a trial and the launch that are known to move the best LR or ALMR, as warnings."""

from __future__ import annotations

import math

from analysis.decision.case import Case
from analysis.decision.findings import repetition
from analysis.fit_file.transfer import HISTORY, REPEATS, TOKENS, Shrinkage
from analysis.transfer.sizes import ScaleStep
from sweep.study import Study, numbers
from sweep.study.sections.launch import Launch
from sweep.study.sections.recipe.training import Training

NOTABLE = 1.5  # least ratio, of pre-training tokens per parameter or of weight decay's total, to warn of
LEAST_SHRINKAGE = 0.01  # of the weights


def lengths(study: Study, launch: Launch) -> list[str]:
    """Training tokens and sequence length, where they differ. The rules carry the LR over batches."""
    pairs = [
        (TOKENS, study.training.tokens, launch.tokens),
        ("sequence length", study.training.sequence_length, launch.sequence_length),
    ]
    return [
        f"{name}: {small:,} in a trial, {large:,} in the launch ({numbers.times(large / small)})"
        for name, small, large in pairs
        if small != large
    ]


def shrinkage(study: Study, lr: float, launch_lr: float) -> Shrinkage:
    """What weight decay takes off the weights: 1 - exp(-weight_decay x the sum of the LR over the steps)."""
    assert study.launch is not None
    return Shrinkage(
        trial=_shrunk(study.training, study.training.steps, lr),
        launch=_shrunk(study.training, study.launch.steps, launch_lr),
    )


def _shrunk(training: Training, steps: int, lr: float) -> float:
    schedule = training.schedule.over(steps)
    return -math.expm1(-training.optimizer.weight_decay * lr * math.fsum(map(schedule.share, range(steps))))


def shrunk(found: Shrinkage, weight_decay: float) -> list[str]:
    """Weight decay, where it takes off NOTABLE times as much in the launch as in a trial, or the reverse."""
    sums = [-math.log1p(-min(share, 1 - 1e-9)) for share in (found.trial, found.launch)]
    if max(found.trial, found.launch) < LEAST_SHRINKAGE or max(sums) < NOTABLE * min(sums):
        return []
    needed = f"{weight_decay * sums[0] / sums[1]:.2g}"
    return [
        f"weight decay: over the whole run it takes {numbers.percent(found.trial, 2)} off the weights in a trial and "
        f"{numbers.percent(found.launch, 2)} in the launch. No rule corrects for it; to take off as much as in a "
        f"trial, the launch needs a weight decay of {needed}"
    ]


def history(step: ScaleStep) -> list[str]:
    """Pre-training tokens per parameter, where they differ by NOTABLE or more, or are not known."""
    facts = {"trial": step.trial, "launch": step.launch}
    missing = [
        f"launch.transfer.{name}.{field}"
        for name, model in facts.items()
        for field in ("parameters", "pretraining_tokens")
        if getattr(model, field) is None
    ]
    small, large = step.trial.tokens_per_parameter, step.launch.tokens_per_parameter
    if small is None or large is None:
        return [f"{HISTORY} cannot be compared: set {', '.join(missing)}"]
    ratio = max(small / large, large / small)
    if ratio < NOTABLE:
        return []
    trial, target = numbers.tokens(small), numbers.tokens(large)
    return [
        f"{HISTORY}: {trial} for the trials' model, {target} for the launch's "
        f"({numbers.times(ratio)} apart). This moves the best LR and ALMR; no transfer rule corrects for it"
    ]


def repeats(case: Case, almr: float, step: ScaleStep) -> list[str]:
    """Corpora that a trial, or a launch of the trials' text alone, reads more than once.

    Only the trial's passes are stated. The launch's are counted from its own corpus at the export, which includes the
    documents that the trials hold out.
    """
    if case.study and case.study.training.simulate_epochs:  # trials repeat as the launch does
        return []
    found = []
    for corpus in repetition.of(case.table, case.study):
        passes = corpus.epochs(almr)
        if max(passes, passes * step.token_ratio) > 1 and step.token_ratio != 1:
            found.append(
                f"{corpus.label(case.study)} {REPEATS} {numbers.passes(passes, 'it')}, the launch "
                f"{numbers.times(step.token_ratio)} as many tokens of it. Repeated text moves the best ALMR: give the "
                f"launch a larger corpus, or the trials as much repetition (training.simulate_epochs)"
            )
    return found
