"""What differs between a trial and the launch and is known to move the best LR or ALMR: warnings in words."""

from __future__ import annotations

from analysis.decision.case import Case
from analysis.decision.findings import repetition
from analysis.transfer.sizes import ScaleStep
from sweep.study.sections.launch import Launch
from sweep.study.study import Study

NOTABLE = 1.5  # a ratio of pre-training tokens per parameter that is worth a word


def lengths(study: Study, launch: Launch) -> list[str]:
    pairs = [
        ("training tokens", study.training.tokens, launch.tokens),
        ("global batch in tokens", study.training.global_batch_tokens, launch.global_batch_tokens),
        ("sequence length", study.training.sequence_length, launch.sequence_length),
    ]
    return [
        f"{name}: {small:,} in a trial, {large:,} in the launch ({large / small:.3g} x)"
        for name, small, large in pairs
        if small != large
    ]


def history(step: ScaleStep) -> list[str]:
    """Pre-training tokens per parameter: a model that saw more of them is further from where it started."""
    facts = {"trial": step.trial, "launch": step.launch}
    missing = [
        f"launch.transfer.{name}.{field}"
        for name, model in facts.items()
        for field in ("parameters", "pretraining_tokens")
        if getattr(model, field) is None
    ]
    if missing:
        return [f"pre-training tokens per parameter of trial and launch cannot be compared: state {', '.join(missing)}"]
    small, large = ((m.pretraining_tokens or 0) / (m.parameters or 1) for m in facts.values())
    ratio = max(small / large, large / small)
    if ratio < NOTABLE:
        return []
    return [
        f"pre-training tokens per parameter: {small:,.4g} for the trials' model, {large:,.4g} for the launch's "
        f"({ratio:.3g} x apart): how far a model was trained moves its best LR and ALMR, and no rule here allows for it"
    ]


def repeats(case: Case, almr: float, step: ScaleStep) -> list[str]:
    """Passes over each corpus, by the trials' own count, where trial or launch goes over it more than once."""
    found = []
    for one in repetition.of(case.table):
        trial = one.epochs(almr)
        launch = trial * step.token_ratio
        if max(trial, launch) > 1 and trial != launch:
            found.append(
                f"passes over the {one.language} corpus that the trials read: {trial:.3g} in a trial, {launch:.3g} in "
                f"the launch, unless it reads more text: repetition moves the best ALMR"
            )
    return found
