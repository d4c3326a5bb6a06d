"""What has to stand before the first trial starts: the base model and both corpora, packed with its tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sweep.study.fields import LANGUAGES
from sweep.study.ingredients import Ingredients
from sweep.study.study import Study
from trainers import tiny
from trainers.benchmarks import fetching
from trainers.data import corpus
from trainers.model import smollm
from trainers.model.model import fingerprint, load_tokenizer

Progress = Callable[[str, float | None], None]


def prepare(study: Study, progress: Progress = lambda phase, share: None) -> Ingredients:
    """Build or find in the cache all that trials share.

    `progress` is told the phase in words, and the share of it that is done where that is known.
    """
    base = study.base_model.pretrained or str(_embedded(study, progress))
    tokenizer = load_tokenizer(study.base_model, base)
    folders = {}
    for language in LANGUAGES:
        progress(f"reading the {language} corpus", None)
        spec = getattr(study.corpora, language)
        folder = corpus.prepare(spec, f"corpora.{language}", tokenizer, study.training.sequence_length)
        folders[language] = str(folder)
    facts = {language: corpus.open_packed(Path(folder)).facts for language, folder in folders.items()}
    if study.benchmarks:
        fetching.fetch_all(study.benchmarks, progress)
    progress("fingerprinting the base model", None)
    identity = fingerprint(study.base_model, base)
    return Ingredients(base_model=base, base_model_fingerprint=identity, folders=folders, corpora=facts)


def _embedded(study: Study, progress: Progress) -> Path:
    if study.base_model.embedded == "smollm2-135m":
        progress("fetching and converting SmolLM2-135M, once, about a minute", None)
        return smollm.build()
    return tiny.build(lambda share: progress("pre-training the tiny base model, once, about a minute", share))
