"""What has to stand before the first trial starts: the base model and both corpora, packed with its tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sweep.study import LANGUAGES, Study
from sweep.trial import CorpusFacts
from trainers import corpus, tiny
from trainers.ingredients import Ingredients
from trainers.model import load_tokenizer


def prepare(study: Study, progress: Callable[[str], None] = lambda text: None) -> Ingredients:
    """Build or find in the cache all that trials share. `progress` is told in words what is going on."""
    base = study.base_model.pretrained or str(_tiny(progress))
    tokenizer = load_tokenizer(study.base_model, base)
    folders = {}
    for language in LANGUAGES:
        progress(f"reading and tokenising the {language} corpus")
        spec = getattr(study.corpora, language)
        folder = corpus.prepare(spec, f"corpora.{language}", tokenizer, study.training.sequence_length)
        folders[language] = str(folder)
    return Ingredients(base_model=base, corpora=folders)


def facts(ingredients: Ingredients) -> dict[str, CorpusFacts]:
    return {name: corpus.open_packed(Path(folder)).facts for name, folder in ingredients.corpora.items()}


def _tiny(progress: Callable[[str], None]) -> Path:
    return tiny.build(lambda share: progress(f"pre-training the tiny base model, once: {share:.0%}"))
