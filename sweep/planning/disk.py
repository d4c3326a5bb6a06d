"""An upper bound of the disk space that a study takes, part by part: what is prepared for its run, and the run itself.

What is prepared lies in `$ALMR_CACHE` (files of the hub: in huggingface_hub's cache). Once it is there it is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.launch.plan.held_out import SMALL
from sweep.planning import prepared_size
from sweep.planning.prepared_size import CORPUS_FILES, Parts
from sweep.study import Study
from sweep.study.sections.transfer import Confirmation
from sweep.study.sizes.shape import FLOAT32, MOMENTS, Shape

LINE = 400  # bytes: one line of metrics.jsonl and its TensorBoard events
TRIAL_FILES = 32 * 1024  # bytes: record, log, headers of event files
RUN_FILES = 8e6  # bytes: staged code, report, figures and tables of a run


@dataclass(frozen=True)
class Disk:
    """Bytes of each part, None where it is not known. Upper bounds; with `measured` those of PREPARED are real.

    `text`: copies of the documents that were read to be tokenised. `temporary`: besides, while a model is converted or
    the largest corpus packed. `checkpoints`: two for each trial that runs at once, because the old one is deleted after
    the new one is written. `models`: the saved models (`keep`), and the space for writing one: with `best` the previous
    one still exists, and the workers of a sharded model write their parts before the whole. `bundle`: the launch
    bundle, which has copies of the held-out text.
    """

    prepared: Parts
    run: Parts
    measured: bool = False

    @property
    def parts(self) -> Parts:
        return self.prepared | self.run

    @property
    def total(self) -> float | None:
        return _sum(self.parts)

    @property
    def run_bytes(self) -> float:
        """The run directory's part, as far as it is known."""
        return sum(size for size in self.run.values() if size is not None)

    @property
    def to_prepare(self) -> float | None:
        """What has yet to be written into the cache."""
        return 0 if self.measured else _sum(self.prepared)


def _sum(parts: Parts) -> float | None:
    known = [size for size in parts.values() if size is not None]
    return sum(known) if len(known) == len(parts) else None


def disk(
    study: Study, shape: Shape | None, trials: int, at_once: int | None, sizes: dict[str, int] | None = None
) -> Disk:
    """`at_once`: trials that run in parallel. `sizes`: the measured bytes of what was prepared; None: estimate them."""
    run = {
        "checkpoints": _checkpoints(study, shape, min(at_once, trials) if at_once else None),
        "models": _models(study, shape, trials),
        "bundle": _bundle(study),
        "logs": RUN_FILES + trials * (TRIAL_FILES + LINE * _lines(study)),
    }
    if sizes is None:
        return Disk({} if study.replay else prepared_size.parts(study, shape), run)
    corpora = sum(sizes[source.where] for source in study.corpora.by_name.values())
    others = {part: float(size) for part, size in sizes.items() if not part.startswith("corpora.")}
    return Disk({"base_model": others.pop("base_model"), "corpora": corpora, **others}, run, measured=True)


def _bundle(study: Study) -> float:
    """Each format has a folder for the launch, with a copy of small held-out text, and for each confirmation run."""
    if study.launch is None:
        return 0
    texts = [prepared_size.CorpusText(source.spec).held_out for source in study.corpora.by_name.values()]
    confirm = study.launch.transfer.confirm if study.launch.transfer else Confirmation()
    copied = min(sum(size or 0 for size in texts), SMALL)
    return len(study.launch.formats) * (copied + (1 + confirm.runs) * CORPUS_FILES)


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
