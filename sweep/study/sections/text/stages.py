"""What the sections of a study have to say alike where it trains another stage than continual pre-training."""

from __future__ import annotations

from collections.abc import Iterator

from sweep.study.fields import TrainerName
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.sections.text.corpora import Corpora
from sweep.study.sections.text.documents import Documents
from sweep.study.sections.training import Training

CARRIED_OUT = ("cpt",)  # by the trainers of this version
ROWS = {"sft": "conversations", "dpo": "pairs of answers"}  # what a stage trains on


def fault(
    training: Training, corpora: Corpora, documents: Documents, trainer: TrainerName, benchmarks: Benchmarks | None
) -> str | None:
    """The first field that does not suit the stage, and the fix; None where all do."""
    if training.stage == "cpt":
        plain = "documents.chat_template: stage cpt trains on plain text: write training.stage: sft, or remove it"
        return plain if documents.chat_template else None
    return next(_faults(training, corpora, trainer, benchmarks), None)


def _faults(training: Training, corpora: Corpora, trainer: TrainerName, benchmarks: Benchmarks | None) -> Iterator[str]:
    stage, rows = training.stage, ROWS[training.stage]
    if stage not in CARRIED_OUT:
        yield f"training.stage: {stage} cannot be trained by this version: write {' or '.join(CARRIED_OUT)}"
    for source in corpora.by_name.values():
        if source.spec.embedded:
            yield (
                f"{source.where}.embedded: {source.spec.embedded} is plain text, and stage {stage} trains on {rows}: "
                "give files or dataset"
            )
    if trainer != "native":
        yield f"trainer: {trainer} trains no trials of stage {stage}: remove trainer, so that almr's own does"
    if benchmarks and benchmarks.suite == "embedded":
        yield f"benchmarks.suite: embedded asks about plain text, and stage {stage} holds out {rows}: give tasks"
