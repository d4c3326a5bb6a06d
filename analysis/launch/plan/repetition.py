"""Text that the launch reads more than once, and whether its trials did."""

from __future__ import annotations

from analysis.launch.plan.source import LaunchCorpus
from sweep.study import Study
from sweep.study import numbers as formats


def warning(study: Study, source: LaunchCorpus) -> str | None:
    """By the launch's own tokens and text. None where the launch reads it at most once."""
    name, limit, size = source.label(study), study.objective.max_epochs, source.size
    if size is None or source.epochs is None:
        sample = f" (the trials read {source.facts.documents:,} documents of it)" if source.facts else ""
        return (
            f"{name} corpus: its size is not known, so the launch may repeat it{sample}: state the launch's "
            f"text and its tokens under launch.corpora"
        )
    if source.epochs <= 1:
        return None
    fix = ". Supply a larger corpus." if source.epochs > limit else ""
    return (
        f"{name} corpus: the launch would read it {formats.times(source.epochs)} (limit {limit:g} x; "
        f"{formats.tokens(size.tokens)} tokens, {size.source}{_trial_passes(study, source)}){fix}"
    )


def _trial_passes(study: Study, source: LaunchCorpus) -> str:
    if source.facts is None:
        return ""
    tokens, part = source.facts.tokens, "its training part"
    if source.facts.trial_blocks:
        tokens, part = source.facts.trial_blocks * study.training.sequence_length, "the part that it draws from"
    passes = source.share * study.training.tokens / tokens
    unlike = ", so its loss does not show that: training.simulate_epochs would" if passes <= 1 else ""
    return f"; a trial reads {formats.passes(passes, part)}{unlike}"
