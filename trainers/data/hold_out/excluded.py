"""The files with text that a study excludes from training, such as that of benchmarks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from sweep.study import InputError
from sweep.study.files import cache, patterns
from sweep.study.files.atomic import sha256
from sweep.study.sections.corpora import CorpusSource
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
    return [_cached(file, where) for file in found]


def _cached(file: str, where: str) -> Path:
    if not file.endswith(SUFFIXES):
        raise InputError(
            f"{where}: cannot read {patterns.printable(file)}: give JSON Lines (.jsonl) with the field text"
        )

    def build(folder: Path) -> None:
        with (folder / FILE).open("w", encoding="utf-8") as lines:
            for text in _texts(file, where):
                lines.write(json.dumps({FIELD: text}, ensure_ascii=False) + "\n")

    return cache.build_once(cache.root() / "excluded" / sha256(Path(file))[:16], build) / FILE


def _texts(file: str, where: str) -> Iterator[str]:
    found = filter(None, json_lines.documents(Place(where, file), "utf-8", FIELD, Alike()))
    return (text.decode() for text in found)
