"""What the sections of a study have to say alike where it trains another stage than continual pre-training."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from sweep.study.fields import TrainerName
from sweep.study.sections.benchmarks import Benchmarks
from sweep.study.sections.recipe.training import Training
from sweep.study.sections.text.corpora import Corpora
from sweep.study.sections.text.documents import Documents

CARRIED_OUT = ("cpt", "sft", "dpo")  # by the trainers of this version
NAMES = {"cpt": "Continual pre-training", "sft": "Supervised fine-tuning", "dpo": "Preference optimisation"}
ROWS = {"cpt": "plain text", "sft": "conversations", "dpo": "pairs of answers"}  # what a stage trains on
MADE = {"-questions": "sft", "-preferences": "dpo"}  # ends of the names of embedded corpora, and their stage


def fault(
    training: Training,
    corpora: Corpora,
    documents: Documents,
    trainer: TrainerName,
    benchmarks: Benchmarks | None,
) -> str | None:
    """The first field that does not suit the stage, and the fix; None where all do."""
    if training.stage == "cpt":
        plain = "documents.chat_template: stage cpt trains on plain text: write training.stage: sft, or remove it"
        return plain if documents.chat_template else next(_embedded(training.stage, corpora), None)
    own = _of_pairs(training) if training.stage == "dpo" else ()
    return next(chain(_faults(training, corpora, trainer, benchmarks), own), None)


def _faults(training: Training, corpora: Corpora, trainer: TrainerName, benchmarks: Benchmarks | None) -> Iterator[str]:
    stage, rows = training.stage, ROWS[training.stage]
    if stage not in CARRIED_OUT:
        yield f"training.stage: {stage} cannot be trained by this version: write {' or '.join(CARRIED_OUT)}"
    yield from _embedded(stage, corpora)
    if trainer != "native":
        yield f"trainer: {trainer} trains no trials of stage {stage}: remove trainer, so that almr's own does"
    if benchmarks and benchmarks.suite == "embedded":
        yield f"benchmarks.suite: embedded asks about plain text, and stage {stage} holds out {rows}: give tasks"


def _embedded(stage: str, corpora: Corpora) -> Iterator[str]:
    for source in corpora.by_name.values():
        name = source.spec.embedded
        of = next((of for end, of in MADE.items() if name and name.endswith(end)), "cpt")
        if name and of != stage:
            yield (
                f"{source.where}.embedded: {name} is {ROWS[of]}, and stage {stage} trains on {ROWS[stage]}: give files "
                "or dataset"
            )


def _of_pairs(training: Training) -> Iterator[str]:
    """Stage dpo: a pair takes two sequences of a batch, and a trial has no branches."""
    if training.batch_sequences % 2:
        even = (training.batch_sequences + 1) * training.sequence_length
        yield (
            f"training.global_batch_tokens {training.global_batch_tokens} is {training.batch_sequences} sequences, and "
            f"a pair of answers takes two: write {even}"
        )
    for name in ("horizons", "document_masking", "simulate_epochs"):
        if getattr(training, name):
            yield f"training.{name}: stage dpo has no such thing: remove it"
