"""What a plan warns of: what would be run is not what was meant, or cannot be estimated."""

from __future__ import annotations

from sweep.planning.memory import USABLE, TrialMemoryModel
from sweep.study.study import MINIMUM_TRIALS, Study


def of(study: Study, tokens: int, epochs: dict[str, list[float] | None], layout: TrialMemoryModel | None) -> list[str]:
    found = [*_lengths(study, tokens), *_repeats(study, epochs)]
    if len(study.grid.points) < MINIMUM_TRIALS and not study.search.proposes:
        found.append(f"the grid has fewer than the {MINIMUM_TRIALS} trials that a surface needs: add ALMRs or LRs")
    if speed := _speed(study):
        found.append(speed)
    if layout and (memory := out_of_memory(layout)):
        found.append(memory)
    return found


def _lengths(study: Study, tokens: int) -> list[str]:
    found = []
    if tokens != study.training.tokens:
        found.append(f"training.tokens {study.training.tokens:,} is not whole batches: a trial takes {tokens:,}")
    for horizon in study.training.horizons:
        if horizon % study.training.global_batch_tokens:
            takes = study.training.steps_of(horizon) * study.training.global_batch_tokens
            found.append(f"training.horizons {horizon:,} is not whole batches: its branch ends at {takes:,}")
    return found


def _repeats(study: Study, epochs: dict[str, list[float] | None]) -> list[str]:
    found = []
    for language, times in epochs.items():
        if times is None:
            found.append(f"corpora.{language}: size not known before it is read; state `tokens:` to see its epochs")
            continue
        repeats = {almr: n for almr, n in zip(study.grid.almr, times, strict=True) if n > 1}
        if repeats:
            worst = max(repeats, key=lambda almr: repeats[almr])
            found.append(
                f"corpora.{language} repeats at ALMR {', '.join(f'{a:g}' for a in repeats)} "
                f"(up to {repeats[worst]:.1f} times): repeated text moves the best ALMR; add text or cut tokens"
            )
    return found


def _speed(study: Study) -> str | None:
    resources = study.resources
    if resources.tokens_per_second or (resources.gpus and resources.gpu and resources.mfu):
        return None
    instead = ", or resources.gpu and resources.mfu," if resources.gpus else ""
    return f"resources.tokens_per_second{instead} is not stated: no time is estimated before a trial has finished"


def out_of_memory(layout: TrialMemoryModel) -> str | None:
    """One line where the micro-batch does not fit into the stated memory of a GPU; None where it fits or none is."""
    have = layout.study.resources.gpu_bytes
    if have is None or layout.memory(layout.micro_batch).total <= USABLE * have:
        return None
    fits = layout.largest_fitting(have)
    if fits:
        fix = f"the largest that fits is {fits}"
    else:
        need = layout.memory(1).total / 1e9
        fix = f"one sequence needs {need:.0f} GB: more gpus_per_node or nodes, or more activation_checkpointing"
    return (
        f"training.micro_batch_sequences {layout.micro_batch} does not fit into {USABLE:.0%} of {have / 1e9:.0f} GB "
        f"a GPU: {fix}"
    )
