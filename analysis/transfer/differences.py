"""Differences between a trial and the launch that are known to move the best LR or ALMR, as warnings."""

from __future__ import annotations

from analysis.decision.case import Case
from analysis.decision.findings import repetition
from analysis.fit_file.transfer import HISTORY, REPEATS, TOKENS
from analysis.transfer.sizes import ScaleStep
from sweep.study import Study, numbers
from sweep.study.sections.launch import Launch

NOTABLE = 1.5  # least ratio of pre-training tokens per parameter to warn of


def lengths(study: Study, launch: Launch) -> list[str]:
    """Training tokens, global batch and sequence length, where they differ."""
    pairs = [
        (TOKENS, study.training.tokens, launch.tokens),
        ("global batch in tokens", study.training.global_batch_tokens, launch.global_batch_tokens),
        ("sequence length", study.training.sequence_length, launch.sequence_length),
    ]
    return [
        f"{name}: {small:,} in a trial, {large:,} in the launch ({numbers.times(large / small)})"
        for name, small, large in pairs
        if small != large
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
