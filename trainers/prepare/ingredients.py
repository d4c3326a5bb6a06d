"""All that the trials of a run share, before the first one starts: built, or found in the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sweep.study import LANGUAGES, CorpusFacts, Ingredients, InputError, Study, preparation
from sweep.study.files import cache, disk
from trainers.benchmarks import fetching
from trainers.data import corpus
from trainers.data.documents import DocumentSource
from trainers.data.origins.hub import RecordedCommit
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.loop.base import check
from trainers.model.loading import load_tokenizer
from trainers.prepare import base_model, sources
from trainers.prepare.base_model import BASE_MODEL, TOKENIZER, BaseModel, Progress


@dataclass(frozen=True)
class StudyInputs:
    ingredients: Ingredients
    sources: dict[str, DocumentSource]
    tokenizer: TextTokenizer


def prepare(
    study: Study, progress: Progress = lambda phase, share: None, earlier: Ingredients | None = None
) -> Ingredients:
    """Build all that trials share, or find it in the cache.

    `progress` receives the name of each phase and the share of it that is done (None: unknown). `earlier` is what this
    run was prepared with before: it keeps those commits. Otherwise those that `fetch` recorded for this study are taken
    without asking the hub. Raises InputError for a model or a corpus that cannot be loaded or is broken, and OSError
    for a full disk.
    """
    recorded = preparation.read(study)
    known = earlier or (recorded.ingredients if recorded else None)
    with disk.naming(cache.root()):
        again = earlier.held_out_again if earlier else {}
        made = make(study, progress, commits_of(study, known, ask=known is None), again=again).ingredients
    if earlier:
        made = made.model_copy(update={"same_text": earlier.same_text})
    return made.with_check_of(earlier)


def commits_of(study: Study, known: Ingredients | None, ask: bool) -> dict[str, RecordedCommit]:
    recorded = known.commits if known else {}
    parts = (BASE_MODEL, TOKENIZER, *study.corpora.source_names())
    return {part: RecordedCommit(recorded.get(part), ask) for part in parts}


def make(
    study: Study,
    progress: Progress,
    commits: dict[str, RecordedCommit],
    finished: Callable[[str], None] = lambda part: None,
    again: Mapping[str, str] = {},
) -> StudyInputs:
    """`finished` is called with each part that is done, in the words of a study file. `again`: by source, the packed
    corpus whose held-out documents are held out again.
    """
    sources.refuse_absent(study)
    base = base_model.prepared(study, progress, commits)
    progress("checking the base model", None)
    loaded = load_tokenizer(study.base_model, base.path)
    looked = check.look(study, Path(base.path), loaded, base.fingerprint)
    tokenizer = base_model.text_tokenizer(study, loaded)
    finished(BASE_MODEL)
    read: dict[str, DocumentSource] = {}
    folders: dict[str, Path] = {}
    for language in LANGUAGES:
        found = sources.resolved(study, study.corpora.source_names(language), commits, progress)
        folders |= sources.packed(study, found, tokenizer, progress, again)
        read |= found
        for name in found:
            finished(study.corpora.by_name[name].where)
    if study.benchmarks:
        fetching.fetch_all(study.benchmarks, progress)
    ingredients = _ingredients(study, base, read, folders).model_copy(update={"base_check": looked})
    progress("measuring the base model's loss", None)
    measured = ingredients.model_copy(update={"base_check": check.measure(study, ingredients)})
    return StudyInputs(measured, read, tokenizer)


def _ingredients(
    study: Study, base: BaseModel, read: Mapping[str, DocumentSource], folders: Mapping[str, Path]
) -> Ingredients:
    facts = {name: _facts(study, name, folder) for name, folder in folders.items()}
    _refuse_borders_inside(study, facts)
    now = {name: source.commit for name, source in read.items()} | base.commits
    return Ingredients(
        base_model=base.path,
        base_model_fingerprint=base.fingerprint,
        folders={name: str(folder) for name, folder in folders.items()},
        corpora=facts,
        commits={part: commit for part, commit in now.items() if commit},
    )


def _facts(study: Study, name: str, folder: Path) -> CorpusFacts:
    """The counts of a packed source, with the part of it that the study lets trials read."""
    facts, tokens = corpus.open_packed(folder).facts, study.corpora.by_name[name].spec.trial_tokens
    return facts.drawn_from(tokens / study.training.sequence_length) if tokens else facts


def _refuse_borders_inside(study: Study, corpora: dict[str, CorpusFacts]) -> None:
    for name, facts in corpora.items():
        if study.training.document_masking and facts.borders_inside:
            raise InputError(
                f"training.document_masking: in {facts.borders_inside:,} documents of "
                f"{study.corpora.by_name[name].where} a token of the text is the same as the one between documents: "
                f"give the base model's tokenizer an eos_token that is no text, or write document_masking: false"
            )
