"""Plans a study: trials, tokens, time, memory, FLOPs, disk. Starts nothing and imports nothing heavy."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sweep.planning import warnings
from sweep.planning.disk import Disk, disk
from sweep.planning.model_shape import ShapeLookup, find
from sweep.planning.prepared_size import plain_files
from sweep.planning.requirements import TrialMemory
from sweep.study import LANGUAGES, CorpusFacts, Record, Study
from sweep.study.sections.corpora import Corpus
from sweep.study.sections.resources import Resources
from sweep.study.sizes.shape import Shape
from sweep.trials.progress import RunProgress

BYTES_PER_TOKEN = 3.5  # between Chinese and English with common vocabularies; used until a corpus is tokenised


@dataclass(frozen=True)
class StudyPlan:
    """A study's trials and what they take.

    `tokens_per_trial` includes the branches to shorter horizons. `epochs`: passes over each language's corpus, at each
    ALMR of the grid; None if unknown. Branches add no epochs: they read the main run's text.

    `trial_seconds`: None where the speed is unknown. `seconds`: for all remaining trials, without start-up. `shape`
    and `flops` (of one trial): None where the model's shape is unknown. `trial_memory`: None also where trials use no
    GPUs. Held-out evaluation is in neither FLOPs nor time.
    """

    progress: RunProgress
    tokens_per_trial: int
    epochs: dict[str, list[float] | None]
    trial_seconds: float | None
    seconds: float | None
    gpu_hours: float | None
    shape: Shape | None
    trial_memory: TrialMemory | None
    flops: float | None
    disk: Disk
    warnings: list[str]

    @property
    def tokens(self) -> int:
        return self.progress.total * self.tokens_per_trial


def plan(
    study: Study, progress: RunProgress, facts: dict[str, CorpusFacts], prepared: dict[str, int] | None = None
) -> StudyPlan:
    """`facts`: the corpora that were packed so far, `prepared`: the measured bytes of what was prepared. Both replace
    estimates.
    """
    tokens = study.training.blocks * study.training.sequence_length
    epochs = {language: corpus_epochs(study, language, tokens, facts.get(language)) for language in LANGUAGES}
    trained = tokens + study.training.branch_steps * study.training.global_batch_tokens
    found = _shape(study)
    trial_memory = TrialMemory(found.shape, study) if found.shape and study.resources.gpus else None
    flops = trained * flops_per_token(found.shape, study.training.sequence_length) if found.shape else None
    each = trial_seconds(study, trained, progress.records, flops)
    at_once = concurrency(study)
    return StudyPlan(
        progress=progress,
        tokens_per_trial=trained,
        epochs=epochs,
        trial_seconds=each,
        seconds=None if each is None or at_once is None else each * -(-progress.to_run // at_once),
        gpu_hours=None if each is None else each * progress.to_run * study.resources.gpus / 3600,
        shape=found.shape,
        trial_memory=trial_memory,
        flops=flops,
        disk=disk(study, found.shape, progress.total, at_once, prepared),
        warnings=[*warnings.of(study, tokens, epochs, trial_memory), *([found.why_not] if found.why_not else [])],
    )


def _shape(study: Study) -> ShapeLookup:
    """Only looked up where it is needed: for trials on GPUs, and weights written to disk."""
    used = study.resources.gpus or study.keep != "none" or study.execution.checkpoint_minutes
    return find(study.base_model) if used and not study.replay else ShapeLookup(None)


def trial_seconds(study: Study, tokens: int, records: Sequence[Record], flops: float | None) -> float | None:
    """Measured on finished trials, else from the study's tokens per second or MFU."""
    measured = [r.seconds for r in records if r.seconds and r.status == "complete"]
    if measured:
        return statistics.median(measured)
    if stated := study.resources.tokens_per_second:
        return tokens / stated
    return None if flops is None else seconds_at_mfu(flops, study.resources)


def concurrency(study: Study) -> int | None:
    """Trials in parallel: as stated, else as many as fit this machine's processors; None where that needs a cluster."""
    elsewhere = study.resources.gpus or study.resources.nodes > 1
    fits = None if elsewhere else max(1, (os.cpu_count() or 1) // study.resources.cpus_per_node)
    return min((n for n in (study.resources.concurrent, fits) if n is not None), default=None)


def flops_per_token(shape: Shape, sequence_length: int) -> float:
    """Forward and backward pass: 6 per multiplied parameter, and 12 x layers x query size x sequence length for
    attention (Chowdhery et al., arXiv 2204.02311, appendix B). As in MFU, what checkpointing computes again is not
    counted.
    """
    attention = 12 * shape.num_hidden_layers * shape.query_size * sequence_length
    return 6 * shape.multiplied_parameters + attention


def seconds_at_mfu(flops: float, resources: Resources) -> float | None:
    """Seconds of computation on all GPUs of a trial; None where the study states no GPU or no MFU."""
    if not (resources.known_gpu and resources.mfu and resources.gpus):
        return None
    return flops / (resources.mfu * resources.known_gpu.flops * resources.gpus)


def corpus_epochs(study: Study, language: str, tokens: int, facts: CorpusFacts | None) -> list[float] | None:
    """How many times a trial of `tokens` reads a corpus, at each ALMR of the grid; None if the size is unknown."""
    corpus: Corpus = getattr(study.corpora, language)
    if facts:
        size: float | None = facts.blocks * study.training.sequence_length
    else:
        whole = expected_tokens(corpus)
        size = whole and whole * (1 - corpus.held_out)
    if not size:
        return None
    shares = [almr if language == "additional" else 1 - almr for almr in study.grid.almr]
    return [share * tokens / size for share in shares]


def expected_tokens(corpus: Corpus) -> float | None:
    """Tokens of a corpus that has not been tokenised yet; None where nothing tells its size."""
    if corpus.tokens:
        return corpus.tokens
    files = None if corpus.documents else plain_files(corpus)
    return None if files is None else sum(file.stat().st_size for file in files) / BYTES_PER_TOKEN
