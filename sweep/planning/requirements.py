"""The memory that a trial takes of each of its GPUs, and an upper bound of the disk space that a run takes.

Weights, gradients and optimizer moments are float32 (moments as `optimizer.state` says), sharded over the trial's
workers as FSDP2 does (Rajbhandari et al., arXiv 1910.02054, stage 3). sweep/study/sizes/step.py has the rest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property

from sweep.study import LANGUAGES, Study
from sweep.study.sizes.shape import FLOAT32, MOMENTS, USABLE, Shape
from sweep.study.sizes.step import Moment, Step, evaluation_sequences

TOKEN = 4  # bytes: an int32
LINE = 400  # bytes: one line of metrics.jsonl and its TensorBoard events
TRIAL_FILES = 32 * 1024  # bytes: record, log, headers of event files


@dataclass(frozen=True)
class Memory:
    """Bytes of one GPU at a micro-batch, at the moment of most memory. `gathered`: weights and gradients that are not
    sharded for a while. `logits`: output layer and loss.
    """

    weights: float
    gradients: float
    optimizer: float
    gathered: float
    activations: float
    logits: float

    @cached_property
    def total(self) -> float:
        return float(sum(asdict(self).values()))


@dataclass(frozen=True)
class TrialMemory:
    """The memory of a study's trial on its workers, by micro-batch."""

    shape: Shape
    study: Study

    @property
    def largest_micro_batch(self) -> int:
        """Sequences of a global batch per worker."""
        return self.study.training.batch_sequences // self.study.resources.workers

    @property
    def micro_batch(self) -> int:
        return min(self.study.training.micro_batch_sequences or self.largest_micro_batch, self.largest_micro_batch)

    def at(self, sequences: int) -> Memory:
        """Memory at a micro-batch of so many sequences."""
        share = self.shape.parameters / self.study.resources.workers
        moment = self.moment(sequences)
        return Memory(
            weights=FLOAT32 * share,
            gradients=moment.gradients,
            optimizer=MOMENTS[self.study.training.optimizer.state] * share,
            gathered=moment.gathered,
            activations=moment.activations,
            logits=moment.logits,
        )

    def moment(self, sequences: int) -> Moment:
        """When most memory is taken at a micro-batch of so many sequences, in training or in an evaluation."""
        step = self.step(sequences)
        evaluated = replace(step, sequences=evaluation_sequences(sequences, step.length, None))
        return max(step.peak, evaluated.evaluation, key=lambda moment: moment.total)

    def step(self, sequences: int) -> Step:
        """A step of the trainer with so many sequences at once."""
        length, workers = self.study.training.sequence_length, self.study.resources.workers
        return Step.of(self.study, self.shape, sequences, length, workers, sequences < self.largest_micro_batch)

    def largest_fitting(self, gpu_bytes: float) -> int:
        """The largest micro-batch that fits in the usable part of a GPU's memory; 0 where none does."""
        sizes = range(1, self.largest_micro_batch + 1)
        return max((n for n in sizes if self.at(n).total <= USABLE * gpu_bytes), default=0)


@dataclass(frozen=True)
class Disk:
    """Upper bounds in bytes; None where the size is not known.

    `checkpoints`: two for each trial that runs at once, because the old one is deleted after the new one is written.
    `models`: the saved models (`keep`), and the space for writing one: with `best` the previous one still exists, and
    the workers of a sharded model write their parts before the whole.
    """

    corpora: float | None
    checkpoints: float | None
    models: float | None
    logs: float

    @cached_property
    def total(self) -> float | None:
        parts = asdict(self).values()
        return None if any(part is None for part in parts) else sum(part for part in parts if part is not None)

    @property
    def run_bytes(self) -> float:
        """The run directory's part, as far as it is known."""
        return (self.checkpoints or 0) + (self.models or 0) + self.logs


def disk(study: Study, shape: Shape | None, trials: int, at_once: int | None, tokens: dict[str, float | None]) -> Disk:
    """`tokens`: of each corpus, training and held-out text together. `at_once`: trials that run in parallel."""
    known = [tokens[language] for language in LANGUAGES]
    corpora = None if any(n is None for n in known) else TOKEN * sum(n for n in known if n is not None)
    return Disk(
        corpora=corpora,
        checkpoints=_checkpoints(study, shape, min(at_once, trials) if at_once else None),
        models=_models(study, shape, trials),
        logs=trials * (TRIAL_FILES + LINE * _lines(study)),
    )


def _checkpoints(study: Study, shape: Shape | None, at_once: int | None) -> float | None:
    if study.execution.checkpoint_minutes is None:
        return 0
    if shape is None or at_once is None:
        return None
    return 2 * at_once * checkpoint_bytes(study, shape)


def checkpoint_bytes(study: Study, shape: Shape) -> float:
    """Bytes of one checkpoint: float32 weights and the optimizer's moments."""
    return (FLOAT32 + MOMENTS[study.training.optimizer.state]) * shape.parameters


def _models(study: Study, shape: Shape | None, trials: int) -> float | None:
    if study.keep == "none":
        return 0
    if shape is None:
        return None
    bfloat16_on_gpu = bool(study.resources.gpus) and study.training.precision == "bfloat16"
    sharded = study.resources.worker_group or bfloat16_on_gpu
    copies = {"best": min(2, trials), "all": trials}[study.keep] + (1 if sharded else 0)
    return FLOAT32 * shape.parameters * copies


def _lines(study: Study) -> int:
    training = study.training
    steps = training.steps + training.branch_steps
    evaluations = training.steps // training.evaluate_every if training.evaluate_every else 0
    return steps // training.log_every + evaluations + 4 * (1 + len(training.horizons))
