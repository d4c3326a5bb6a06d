"""The files with text that a study excludes from training, such as that of benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sweep.study import InputError
from sweep.study.files import cache, patterns
from sweep.study.files.atomic import sha256
from sweep.study.sections.text.corpora import CorpusSource
from trainers.data.hold_out import held_out_texts
from trainers.data.hold_out.held_out_texts import FILE
from trainers.data.readers import json_lines
from trainers.data.readers.alike import Alike
from trainers.data.readers.place import Place

FIELD, SUFFIXES = "text", (".jsonl", ".json")


def files(source: CorpusSource) -> list[Path]:
    """The excluded texts of a source as JSON Lines in the cache, one file for each of the study's.

    Raises InputError for a file that is missing, of another kind, or has a line that cannot be read.
    """
    where = f"{source.where}.exclude"
    try:
        found = patterns.distinct([file for given in source.spec.exclude or () for file in patterns.matching(given)])
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return [cached(file, where) for file in found]


def cached(file: str, where: str) -> Path:
    """The texts of a file, in the cache. `where`: the study's field or the option, for errors, which are InputError."""
    if not file.endswith(SUFFIXES):
        raise InputError(
            f"{where}: cannot read {patterns.printable(file)}: give JSON Lines (.jsonl) with the field text"
        )
    folder = cache.root() / "excluded" / sha256(Path(file))[:16]
    return cache.build_once(folder, lambda unfinished: held_out_texts.write(_texts(file, where), unfinished)) / FILE


def _texts(file: str, where: str) -> Iterator[str]:
    found = filter(None, json_lines.documents(Place(where, file), "utf-8", FIELD, Alike()))
    return (text.decode() for text in found)
