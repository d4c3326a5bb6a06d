"""Study -> trials, and what they will cost. Pure: starts nothing and imports nothing heavy."""

from __future__ import annotations

import glob
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.study import LANGUAGES, MINIMUM_TRIALS, Corpus, Study
from sweep.trial import CorpusFacts, Record, Trial

BYTES_PER_TOKEN = 3.5  # between Chinese and English under the usual vocabularies; only until a corpus is tokenised
PLAIN_TEXT = (".txt", ".md", ".jsonl", ".json")


def trials(study: Study) -> list[Trial]:
    """Every point of the grid, seed by seed."""
    return [Trial(almr=almr, lr=lr, seed=seed) for almr, lr, seed in study.grid.points]


@dataclass(frozen=True)
class Plan:
    """What a study asks for. `epochs`: per language, over that corpus, at each ALMR of the grid; None if unknown.

    `branch_steps` are those of a trial's branches to shorter horizons, beside its `steps`; `tokens_per_trial` has both.
    Branches read again what their trunk reads, so they add no epochs.

    `trial_seconds` is None where nothing says how fast a trial is; `seconds` is for all that is left, start-up apart.
    """

    trials: list[Trial]
    left: list[Trial]
    steps: int
    branch_steps: int
    tokens_per_trial: int
    epochs: dict[str, list[float] | None]
    trial_seconds: float | None
    seconds: float | None
    gpu_hours: float | None
    warnings: list[str]

    @property
    def tokens(self) -> int:
        return len(self.trials) * self.tokens_per_trial


def plan(study: Study, left: Sequence[Trial], records: Sequence[Record], facts: dict[str, CorpusFacts]) -> Plan:
    """`records` and `facts` are what a run of this study has so far: they make the estimates better."""
    every = trials(study)
    tokens = study.training.blocks * study.training.sequence_length
    epochs = {language: _epochs(study, language, tokens, facts.get(language)) for language in LANGUAGES}
    trained = tokens + study.training.branch_steps * study.training.global_batch_tokens
    each = trial_seconds(study, trained, records)
    at_once = concurrency(study)
    gpu_hours = None if each is None else each * len(left) * study.resources.gpus / 3600
    return Plan(
        trials=every,
        left=list(left),
        steps=study.training.steps,
        branch_steps=study.training.branch_steps,
        tokens_per_trial=trained,
        epochs=epochs,
        trial_seconds=each,
        seconds=None if each is None or at_once is None else each * -(-len(left) // at_once),
        gpu_hours=gpu_hours,
        warnings=_warnings(study, tokens, epochs),
    )


def trial_seconds(study: Study, tokens: int, records: Sequence[Record]) -> float | None:
    """As measured on finished trials, else as the study states."""
    measured = [r.seconds for r in records if r.seconds and r.status == "complete"]
    if measured:
        return statistics.median(measured)
    stated = study.resources.tokens_per_second
    return tokens / stated if stated else None


def concurrency(study: Study) -> int | None:
    """Trials at once: as stated, else as many as this machine's processors hold; None where it takes GPUs to know."""
    fits = None if study.resources.gpus else max(1, (os.cpu_count() or 1) // study.resources.cpus)
    return min((n for n in (study.resources.concurrent, fits) if n is not None), default=None)


def _epochs(study: Study, language: str, tokens: int, facts: CorpusFacts | None) -> list[float] | None:
    if facts:
        size: float | None = facts.blocks * study.training.sequence_length
    else:
        size = _expected_tokens(getattr(study.corpora, language))
    if not size:
        return None
    shares = [almr if language == "additional" else 1 - almr for almr in study.grid.almr]
    return [share * tokens / size for share in shares]


def _expected_tokens(corpus: Corpus) -> float | None:
    """Training tokens of a corpus that was not tokenised yet: as stated, else from the size of plain-text files."""
    if corpus.tokens:
        return corpus.tokens * (1 - corpus.held_out)
    paths = {Path(file) for pattern in corpus.files or () for file in glob.glob(pattern, recursive=True)}
    if not paths or corpus.documents or not all(path.suffix in PLAIN_TEXT and path.is_file() for path in paths):
        return None
    return sum(path.stat().st_size for path in paths) / BYTES_PER_TOKEN * (1 - corpus.held_out)


def _warnings(study: Study, tokens: int, epochs: dict[str, list[float] | None]) -> list[str]:
    found = []
    if tokens != study.training.tokens:
        found.append(f"training.tokens {study.training.tokens:,} is not whole batches: a trial takes {tokens:,}")
    for horizon in study.training.horizons:
        if horizon % study.training.global_batch_tokens:
            takes = study.training.steps_of(horizon) * study.training.global_batch_tokens
            found.append(f"training.horizons {horizon:,} is not whole batches: its branch ends at {takes:,}")
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
    if len(study.grid.points) < MINIMUM_TRIALS:
        found.append(f"the grid has fewer than the {MINIMUM_TRIALS} trials that a surface needs: add ALMRs or LRs")
    if study.resources.tokens_per_second is None:
        found.append("resources.tokens_per_second is not stated: no time is estimated before a trial has finished")
    return found
