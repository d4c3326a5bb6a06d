"""What the sections of a study ask of each other."""

from __future__ import annotations

from collections.abc import Iterator

from sweep.study.errors import shown
from sweep.study.fields import LANGUAGES, nearest_multiple
from sweep.study.sections.content import StudyContent
from sweep.study.sections.text import stages
from sweep.study.sections.text.corpora import Corpus


def fault(study: StudyContent) -> str | None:
    """The first field that does not suit another section, and the fix; None where all do. Raises ValueError too, for
    bounds of the search that do not contain its grid.
    """
    return next((found for look in LOOKS for found in look(study)), None)


def _of_stage(study: StudyContent) -> Iterator[str]:
    parts = (study.training, study.corpora, study.documents, study.trainer.name, study.benchmarks)
    if found := stages.fault(*parts):
        yield found


def _of_objective(study: StudyContent) -> Iterator[str]:
    known = [*LANGUAGES, *(name for name in study.corpora.source_names() if name not in LANGUAGES)]
    for field, name in study.objective.named_losses:
        if name not in known:
            yield f"objective.{field}: {shown(name)} is no language or source: name one of {', '.join(known)}"
    weighted = {name for name, share in study.objective.shares.items() if share}
    for name, source in study.corpora.by_name.items():
        if name != source.language and {name, source.language} <= weighted:
            yield f"objective.weights: {name} is a part of {source.language}: weight the language or its sources"


def _of_search(study: StudyContent) -> Iterator[str]:
    if study.search.proposes and len(study.grid.seeds) > 1:
        yield "search: a search runs one seed: give grid.seeds one value, or search.strategy: grid"
    study.search.refuse_bounds_inside(study.grid)
    if study.search.gpu_hours and not study.resources.gpus:
        yield "search.gpu_hours: trials use no GPUs: give search.trials or search.tokens, or resources.gpus_per_node"


def _of_notify(study: StudyContent) -> Iterator[str]:
    of = study.notify
    if of and (of.gpu_hours or of.cost) and not study.resources.gpus:
        yield "notify: trials use no GPUs: remove gpu_hours and cost, or add resources.gpus_per_node"
    if of and of.cost and not study.price_per_gpu_hour:
        yield "notify.cost: no price is known: add resources.price_per_gpu_hour, or write gpu_hours"


def _of_workers(study: StudyContent) -> Iterator[str]:
    sequences, workers = study.training.batch_sequences, study.resources.workers
    if sequences % workers:
        whole = nearest_multiple(sequences, workers) * study.training.sequence_length
        yield (
            f"training.global_batch_tokens {study.training.global_batch_tokens} is {sequences} sequences, which "
            f"{workers} workers cannot share equally: write {whole}"
        )


def _of_borders(study: StudyContent) -> Iterator[str]:
    if study.training.document_masking and study.documents.bos is False and not study.documents.eos:
        yield "training.document_masking finds documents by the tokens between them: write documents: {eos: true}"


def _of_launch(study: StudyContent) -> Iterator[str]:
    if study.launch and (found := study.training.schedule.fault(study.launch.steps)):
        yield f"launch.tokens {study.launch.tokens}: training.{found}"
    if study.post_training and study.launch is None:
        yield (
            "post_training: its stages continue from the launch's model: add launch, or write a chain, a file "
            "with name, model and post_training"
        )
    transfer = study.launch.transfer if study.launch else None
    if transfer and transfer.rule == "ladder" and not transfer.rungs and not study.training.horizons:
        yield (
            "launch.transfer: rule ladder needs rungs or training.horizons: name the runs of smaller sweeps, "
            "rungs: [{run: runs/small}]"
        )


def _of_launch_text(study: StudyContent) -> Iterator[str]:
    own = study.launch.corpora.by_name.values() if study.launch and study.launch.corpora else ()
    if any(one.spec.held_out != Corpus.model_fields["held_out"].default for one in own):
        yield (
            "launch.corpora: held_out: the launch leaves out the trials' held-out text and is measured on it: remove it"
        )
    if any(one.spec.trial_tokens for one in own):
        yield "launch.corpora: trial_tokens: trials read a part of corpora, not of this: remove it"


def _of_trials_text(study: StudyContent) -> Iterator[str]:
    length, sources = study.training.sequence_length, study.corpora.by_name.values()
    for source in sources:
        if (source.spec.trial_tokens or length) < length:
            yield (
                f"{source.where}.trial_tokens {source.spec.trial_tokens}: less than one sequence of "
                f"training.sequence_length, {length} tokens, and trials read whole ones: raise it, or remove it"
            )
    if study.training.simulate_epochs:
        if study.launch is None:
            yield (
                "training.simulate_epochs: the launch's tokens are not known: add launch, or write trial_tokens in "
                "corpora instead"
            )
        if stated := [one.where for one in sources if one.spec.trial_tokens]:
            yield f"{stated[0]}.trial_tokens: training.simulate_epochs sets it: remove one of them"


LOOKS = (
    _of_stage,
    _of_objective,
    _of_search,
    _of_notify,
    _of_workers,
    _of_borders,
    _of_launch,
    _of_launch_text,
    _of_trials_text,
)
