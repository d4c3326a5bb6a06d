"""A run that was copied or moved with what lies beside it: its study names other places than those of now.

The recipe of a run has the folder of a base model and the files of excluded text, by their paths. Where only the
folders of these differ, what counts is the content: `Run.keep_ingredients` compares it with that of finished trials.
"""

from __future__ import annotations

from pathlib import Path

from sweep.study import LANGUAGES, Study
from sweep.study.files.atomic import sha256
from sweep.study.sections.text.corpora import BaseModelSource, Corpora, Corpus


def as_before(study: Study, before: Study) -> Study:
    """The study with the places that `before`, the study in its run, has for the same things: those of the same names
    that are not known to differ. What the study itself names is to be prepared first.
    """
    changed = {
        "base_model": _model(study.base_model, before.base_model),
        "corpora": _corpora(study.corpora, before.corpora),
    }
    return study.model_copy(update=changed)


def _model(now: BaseModelSource, before: BaseModelSource) -> BaseModelSource:
    given, known = now.pretrained or "", before.pretrained or ""
    moved = Path(given).is_absolute() and Path(known).is_absolute() and Path(given).name == Path(known).name
    return now.model_copy(update={"pretrained": known}) if moved else now


def _corpora(now: Corpora, before: Corpora) -> Corpora:
    known = {name: source.spec for name, source in before.by_name.items()}
    found = {}
    for language in LANGUAGES:
        placed = tuple(_text(one, known.get(one.name or language)) for one in now.sources(language))
        found[language] = placed if isinstance(getattr(now, language), tuple) else placed[0]
    return now.model_copy(update=found)


def _text(now: Corpus, before: Corpus | None) -> Corpus:
    given, known = now.exclude or (), (before.exclude if before else None) or ()
    moved = len(given) == len(known) and all(map(_is_same, given, known))
    return now.model_copy(update={"exclude": known}) if known and moved else now


def _is_same(now: str, before: str) -> bool:
    """Whether two files have the same name, and the same content as far as both are there."""
    both = Path(now), Path(before)
    if both[0].name != both[1].name:
        return False
    return now == before or not all(path.is_file() for path in both) or sha256(both[0]) == sha256(both[1])
