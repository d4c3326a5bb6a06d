"""An upper bound of the disk space that a run takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

from sweep.study import LANGUAGES, Study
from sweep.study.sizes.shape import FLOAT32, MOMENTS, Shape

TOKEN = 4  # bytes: an int32
LINE = 400  # bytes: one line of metrics.jsonl and its TensorBoard events
TRIAL_FILES = 32 * 1024  # bytes: record, log, headers of event files


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
