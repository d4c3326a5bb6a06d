"""Plans a study: trials, tokens, time, memory, FLOPs, disk. Starts nothing and imports nothing heavy."""

from __future__ import annotations

import os
from dataclasses import dataclass

from analysis.launch.plan.source import BYTES_PER_TOKEN
from sweep.planning import epochs as trial_epochs
from sweep.planning import launch, speed, warnings
from sweep.planning.disk import Disk, disk
from sweep.planning.launch import LaunchOutlook
from sweep.planning.model_shape import ShapeLookup, of_study
from sweep.planning.requirements import TrialMemory
from sweep.planning.speed import Speed
from sweep.study import CorpusFacts, CorpusSource, Study
from sweep.study.files.patterns import plain_files
from sweep.study.sections.text.corpora import Corpus
from sweep.study.sizes.shape import Shape
from sweep.trials.progress import RunProgress


@dataclass(frozen=True)
class StudyPlan:
    """A study's trials and what they take.

    `tokens_per_trial` includes the branches to shorter horizons. `epochs`: passes over each source's text, at each ALMR
    of the grid; None if unknown. Branches add no epochs: they read the main run's text. `estimated`: the sources whose
    epochs are estimated from the size of their files, because they were not tokenised yet. `trial_tokens`: of the part
    that trials draw from, of the sources that they do not read whole.

    `speed`: of one trial; None where it is unknown. `seconds`: for all remaining trials, without start-up. `shape`
    and `flops` (of one trial): None where the model's shape is unknown. `trial_memory`: None also where trials use no
    GPUs, or eager attention. Held-out evaluation is in neither FLOPs nor time. `corpora`: those that were packed so
    far. `trainer`: what is known of a trainer other than ours, in words.
    """

    progress: RunProgress
    tokens_per_trial: int
    epochs: dict[str, list[float] | None]
    estimated: list[str]
    trial_tokens: dict[str, float]
    speed: Speed | None
    seconds: float | None
    gpu_hours: float | None
    shape: Shape | None
    trial_memory: TrialMemory | None
    flops: float | None
    disk: Disk
    corpora: dict[str, CorpusFacts]
    warnings: list[str]
    launch: LaunchOutlook | None = None
    trainer: tuple[str, ...] = ()

    @property
    def trial_seconds(self) -> float | None:
        return self.speed.seconds if self.speed else None

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
    sources = study.corpora.by_name.items()
    parts = trial_epochs.trial_tokens(study, facts)
    epochs = {name: corpus_epochs(study, source, tokens, facts.get(name), parts.get(name)) for name, source in sources}
    trained = study.trained_tokens
    found = _shape(study)
    trial_memory = TrialMemory(found.shape, study) if found.shape and _memory_is_planned(study) else None
    trial_speed = speed.of(study, trained, progress.records, found.shape)
    each = trial_speed.seconds if trial_speed else None
    at_once = concurrency(study)
    progress = progress.expecting(study, None if each is None else each * study.resources.gpus / 3600)
    outlook = launch.of(study, facts)
    return StudyPlan(
        progress=progress,
        tokens_per_trial=trained,
        epochs=epochs,
        estimated=[name for name, source in sources if epochs[name] and not (name in facts or source.spec.tokens)],
        trial_tokens=parts,
        speed=trial_speed,
        seconds=None if each is None or at_once is None else each * -(-progress.to_run // at_once),
        gpu_hours=None if each is None else each * progress.to_run * study.resources.gpus / 3600,
        shape=found.shape,
        trial_memory=trial_memory,
        flops=speed.trial_flops(study, trained, found.shape) if found.shape else None,
        disk=disk(study, found.shape, progress.total, at_once, prepared),
        corpora=facts,
        warnings=[
            *warnings.of(study, tokens, epochs, trial_memory, len(progress.also), each is not None),
            *warnings.few(progress),
            *([found.why_not] if found.why_not else []),
            *_of_text(study, facts, epochs, outlook),
        ],
        launch=outlook,
    )


def _of_text(
    study: Study,
    facts: dict[str, CorpusFacts],
    epochs: dict[str, list[float] | None],
    outlook: LaunchOutlook | None,
) -> list[str]:
    """The warnings of the text of trials and launch."""
    of_trials = [*trial_epochs.warnings(study, facts, epochs, outlook), *warnings.held_out(study, facts)]
    return [*of_trials, *(outlook.warnings(study) if outlook else [])]


def _memory_is_planned(study: Study) -> bool:
    """Eager attention keeps all scores, which the plan does not count: it would be far too small."""
    return study.resources.gpus > 0 and study.execution.attention != "eager"


def _shape(study: Study) -> ShapeLookup:
    """Only looked up where it is needed: for trials on GPUs, and weights written to disk."""
    used = study.resources.gpus or study.keep != "none" or study.execution.checkpoint_minutes
    return of_study(study) if used and not study.replay else ShapeLookup(None)


def concurrency(study: Study) -> int | None:
    """Trials in parallel: as stated, else as many as fit this machine's processors; None where that needs a cluster."""
    elsewhere = study.resources.gpus or study.resources.nodes > 1
    fits = None if elsewhere else max(1, (os.cpu_count() or 1) // study.resources.cpus_per_node)
    return min((n for n in (study.resources.concurrent, fits) if n is not None), default=None)


def corpus_epochs(
    study: Study, source: CorpusSource, tokens: int, facts: CorpusFacts | None, part: float | None = None
) -> list[float] | None:
    """How many times a trial of `tokens` reads a source, at each ALMR of the grid; None if the size is unknown.

    `part`: the tokens of it that trials draw from, where they do not read it whole.
    """
    corpus = source.spec
    if facts:
        size: float | None = facts.blocks * study.training.sequence_length
    else:
        whole = expected_tokens(corpus)
        size = whole and whole * (1 - corpus.held_out)
    size = min((known for known in (size, part) if known), default=None)
    if not size:
        return None
    shares = [almr if source.language == "additional" else 1 - almr for almr in study.grid.almr]
    return [share * source.share * tokens / size for share in shares]


def expected_tokens(corpus: Corpus) -> float | None:
    """Tokens of a corpus that has not been tokenised yet; None where nothing tells its size."""
    if corpus.tokens:
        return corpus.tokens
    files = None if corpus.documents else plain_files(corpus.files or ())
    return None if files is None else sum(file.stat().st_size for file in files) / BYTES_PER_TOKEN
