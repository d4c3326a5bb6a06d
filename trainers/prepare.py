"""Preparation before the first trial: the base model, and both corpora packed with its tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sweep.study import LANGUAGES, Ingredients, Study
from trainers import tiny
from trainers.benchmarks import fetching
from trainers.data import corpus, documents
from trainers.model import smollm
from trainers.model.loading import fingerprint, load_tokenizer

Progress = Callable[[str, float | None], None]


def prepare(
    study: Study, progress: Progress = lambda phase, share: None, earlier: Ingredients | None = None
) -> Ingredients:
    """Build all that trials share, or find it in the cache.

    `progress` receives the name of each phase and the share of it that is done (None: unknown). `earlier` is what this
    run was prepared with before: where the hub cannot be reached, its commits are used. Raises InputError for a model
    or a corpus that cannot be loaded.
    """
    base = study.base_model.pretrained or str(_embedded(study, progress))
    tokenizer = load_tokenizer(study.base_model, base)
    sources, folders, recorded = {}, {}, earlier.commits if earlier else {}
    for language in LANGUAGES:
        progress(f"reading the {study.language_name(language)} corpus", None)
        spec = getattr(study.corpora, language)
        sources[language] = documents.resolve(spec, f"corpora.{language}", recorded.get(language))
        folders[language] = corpus.prepare(sources[language], tokenizer, study.training.sequence_length)
    if study.benchmarks:
        fetching.fetch_all(study.benchmarks, progress)
    progress("fingerprinting the base model", None)
    return Ingredients(
        base_model=base,
        base_model_fingerprint=fingerprint(study.base_model, base),
        folders={language: str(folder) for language, folder in folders.items()},
        corpora={language: corpus.open_packed(folder).facts for language, folder in folders.items()},
        commits={language: source.commit for language, source in sources.items() if source.commit},
    )


def _embedded(study: Study, progress: Progress) -> Path:
    if study.base_model.embedded == "smollm2-135m":
        progress("fetching and converting SmolLM2-135M, once, about a minute", None)
        return smollm.build()
    return tiny.build(lambda share: progress("pre-training the tiny base model, once, about a minute", share))
