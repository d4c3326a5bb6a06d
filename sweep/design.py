"""Study -> trials, how far a run of it is, and what they will cost. Starts nothing and imports nothing heavy."""

from __future__ import annotations

import glob
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.store import Run
from sweep.study import LANGUAGES, MINIMUM_TRIALS, Corpus, Study
from sweep.trial import CorpusFacts, Record, Trial

BYTES_PER_TOKEN = 3.5  # between Chinese and English under the usual vocabularies; only until a corpus is tokenised
PLAIN_TEXT = (".txt", ".md", ".jsonl", ".json")


def trials(study: Study) -> list[Trial]:
    """Every point of the grid, seed by seed."""
    return [Trial(almr=almr, lr=lr, seed=seed) for almr, lr, seed in study.grid.points]


@dataclass(frozen=True)
class Progress:
    """How far a study's run is. `trials` are those that are known: a grid's points, or what a search asked for so far,
    `left` those of them without an outcome, `total` how many there will be at most, `records` all outcomes.
    """

    trials: list[Trial]
    left: list[Trial]
    total: int
    records: list[Record]
    ended: str | None = None

    @property
    def to_run(self) -> int:
        """At most; a search that has ended before its budget is asked again whether it has."""
        return len(self.left) + self.total - len(self.trials)

    @property
    def settled(self) -> list[Record]:
        left = set(self.left)
        return [record for record in self.records if record.trial not in left]

    @property
    def text(self) -> str:
        return f"{self.total} trials, {self.to_run} to run"


def progress(study: Study, run: Run) -> Progress:
    """From the files of the run alone."""
    asked = [a.trial for a in run.all_asked() if a.proposed and study.asks_for(a.almr, a.lr, a.seed)]
    every = asked if study.search.proposes else list(dict.fromkeys([*trials(study), *asked]))
    total = max(len(every), _most(study)) if study.search.proposes else len(every)
    records = [record for trial in every if (record := run.record(trial))]
    state = run.search_state() if study.search.proposes else None
    same = state is not None and (state.asked, state.strategy) == (len(asked), study.search.strategy)
    ended = state.stopped if state and same else None
    return Progress(every, run.left(every), total, records, ended)


def _most(study: Study) -> int:
    """A search's budget, at most every cell that it may try."""
    search = study.search
    bounded = search.space == "cells" and search.bounds is None
    return min(search.trials or 0, len(study.grid.points)) if bounded else search.trials or 0


@dataclass(frozen=True)
class Plan:
    """What a study asks for. `epochs`: per language, over that corpus, at each ALMR of the grid; None if unknown.

    `trials`, `left` and `total` as in Progress, `to_run` as its property.
    `branch_steps` are those of a trial's branches to shorter horizons, beside its `steps`; `tokens_per_trial` has both.
    Branches read again what their trunk reads, so they add no epochs.

    `trial_seconds` is None where nothing says how fast a trial is; `seconds` is for all that is left, start-up apart.
    """

    trials: list[Trial]
    left: list[Trial]
    total: int
    to_run: int
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
        return self.total * self.tokens_per_trial


def plan(study: Study, progress: Progress, facts: dict[str, CorpusFacts]) -> Plan:
    """`facts` are the corpora as a run of this study has them so far: they make the estimates better."""
    tokens = study.training.blocks * study.training.sequence_length
    epochs = {language: _epochs(study, language, tokens, facts.get(language)) for language in LANGUAGES}
    trained = tokens + study.training.branch_steps * study.training.global_batch_tokens
    each = trial_seconds(study, trained, progress.records)
    at_once = concurrency(study)
    gpu_hours = None if each is None else each * progress.to_run * study.resources.gpus / 3600
    return Plan(
        trials=progress.trials,
        left=progress.left,
        total=progress.total,
        to_run=progress.to_run,
        steps=study.training.steps,
        branch_steps=study.training.branch_steps,
        tokens_per_trial=trained,
        epochs=epochs,
        trial_seconds=each,
        seconds=None if each is None or at_once is None else each * -(-progress.to_run // at_once),
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
    """Trials at once: as stated, else as many as this machine's processors hold; None where only a cluster knows."""
    elsewhere = study.resources.gpus or study.resources.nodes > 1
    fits = None if elsewhere else max(1, (os.cpu_count() or 1) // study.resources.cpus_per_node)
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
    if len(study.grid.points) < MINIMUM_TRIALS and not study.search.proposes:
        found.append(f"the grid has fewer than the {MINIMUM_TRIALS} trials that a surface needs: add ALMRs or LRs")
    if study.resources.tokens_per_second is None:
        found.append("resources.tokens_per_second is not stated: no time is estimated before a trial has finished")
    return found
