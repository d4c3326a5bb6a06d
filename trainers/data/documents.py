"""Where a corpus' documents come from: the embedded pair, local files, or a Hugging Face dataset."""

from __future__ import annotations

import codecs
import glob
import io
import itertools
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets

from sweep.study import InputError
from sweep.study.errors import shown
from sweep.study.files import cache, patterns, stamps
from sweep.study.files.atomic import sha256
from sweep.study.sections.text.corpora import Corpus
from sweep.study.study import fingerprint_of
from trainers.data import texts
from trainers.data.origins import embedded, hub
from trainers.data.readers import columns, json_lines, opening, plain_text
from trainers.data.readers.alike import Alike
from trainers.data.readers.place import Place
from trainers.data.readers.record_text import RecordText

log = logging.getLogger(__name__)
SHOW_PROGRESS_OVER = 5000  # documents; fewer take seconds
LOOKED_AT = 20  # files, and documents in each
READING_VERSION = 1  # of the cached texts: raise it when the same files would give other texts
PARAGRAPHS_VERSION = "blank lines"  # the same, of a single text file
MIXED = "mixed"  # a file that is there where records have different fields
NOTATIONS = ("unicode-escape", "raw-unicode-escape", "idna", "punycode", "undefined")  # Python's, of no file
BUILDERS = {".txt": "text", ".md": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}


@dataclass(frozen=True)
class DocumentSource:
    """Text that was found but not yet read. `where` is the study's field, for errors.

    `fingerprint` identifies the content and how it is read; `commit` is that of a data set of the hub. `held_out_of`:
    the folder of the earlier packed corpus whose held-out documents are held out again; None: a fixed random share.
    `read_as`: how a document is made where its text is not that of one field.
    """

    spec: Corpus
    where: str
    fingerprint: str
    builder: str = "hub"
    files: tuple[str, ...] = ()
    commit: str | None = None
    held_out_of: Path | None = None
    read_as: RecordText | None = None


def resolve(spec: Corpus, where: str, recorded: hub.RecordedCommit = hub.UNRECORDED) -> DocumentSource:
    """Find a corpus' text. `recorded`: see `hub.commit`. An embedded text is fetched when it is read.

    Raises InputError for files that are missing, empty, of several kinds or no text but a pointer to it, for an unknown
    encoding, and for a data set of unknown commit.
    """
    sample = [texts.SAMPLE_VERSION, spec.documents] if spec.documents else []
    if spec.dataset:
        commit = hub.commit(hub.repository(spec, where), recorded)
        key = hub.arguments(spec) | {"field": spec.field, "commit": commit}
        key |= {"sample": [*sample, hub.ROW_GROUPS]} if sample else {}
        key |= {"content": _local_content(spec.dataset, where)} if Path(spec.dataset).is_dir() else {}
        return DocumentSource(spec, where, fingerprint_of(key), commit=commit)
    files = [str(embedded.path(spec.embedded))] if spec.embedded else local_files(spec, where)
    builder = BUILDERS[patterns.suffix(files[0])]
    content = [embedded.content(spec.embedded)] if spec.embedded else [_sha256(file, where) for file in files]
    paragraphs = [PARAGRAPHS_VERSION] if builder == "text" and len(files) == 1 else []
    fingerprint = fingerprint_of([builder, spec.field, spec.encoding, content, *sample, *paragraphs])
    return DocumentSource(spec, where, fingerprint, builder, tuple(files))


def local_files(spec: Corpus, where: str) -> list[str]:
    """The files, of one kind, of a corpus that is given as `files`. Raises InputError as `resolve` does, after a look
    at each.
    """
    _check_encoding(spec.encoding, where)
    try:
        files = patterns.distinct([file for pattern in spec.files or () for file in patterns.matching(pattern)])
    except InputError as error:
        raise InputError(f"{where}.files: {error}") from None
    _refuse_kinds(files, where)
    for file in files:
        opening.refuse_pointer(Place(where, file))
    empty = [file for file in files if not Path(file).stat().st_size]
    if empty:
        have = f" and {len(empty) - 1} more have" if empty[1:] else " has"
        named = f"{patterns.printable(empty[0])}{have} 0 bytes"
        if len(empty) == len(files):
            raise InputError(f"{where}.files: the corpus is empty: {named}: fetch the text again")
        log.warning("%s.files: %s", where, named)
    return files


def look(spec: Corpus, where: str, read_as: RecordText | None = None) -> int:
    """The number of files of a corpus, after a look at each and at the first documents of some. Raises InputError."""
    return len(beginnings(spec, where, read_as)[0])


def beginnings(spec: Corpus, where: str, read_as: RecordText | None = None) -> tuple[list[str], list[str]]:
    """The files of a corpus, and the first documents of some of them. Raises InputError."""
    files, found = local_files(spec, where), []
    source = DocumentSource(spec, where, "", BUILDERS[patterns.suffix(files[0])], tuple(files), read_as=read_as)
    for file in files[:: max(1, len(files) // LOOKED_AT)]:
        found += [text.decode() for text in itertools.islice(_of_file(file, source, Alike()), LOOKED_AT) if text]
    return files, found


def _check_encoding(encoding: str, where: str) -> None:
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        if codecs.lookup(encoding).name in NOTATIONS:
            raise LookupError
    except (LookupError, ValueError):
        raise InputError(
            f"{where}.encoding: {shown(encoding)} is no known encoding: utf-8, utf-16, gb18030, latin-1, ..."
        ) from None


def _local_content(folder: str, where: str) -> list[list[str]]:
    """Name and sha256 of each file of a data set in a local folder, which has no commit. Hidden ones are left out."""
    found = {str(Path(path).relative_to(folder)): path for path in stamps.inside(folder) if Path(path).is_file()}
    files = dict(sorted(found.items()))
    for path in files.values():
        opening.refuse_pointer(Place(where, path))
    return [[name, _sha256(path, where)] for name, path in files.items()]


def _sha256(file: str, where: str) -> str:
    with opening.reading(Place(where, file)):
        return sha256(Path(file))


def _refuse_kinds(files: list[str], where: str) -> None:
    kinds = {file: BUILDERS.get(patterns.suffix(file)) for file in files}
    odd = next((file for file, kind in kinds.items() if kind is None or kind != kinds[files[0]]), None)
    if odd:
        endings = sorted({patterns.suffix(file) or "files without an ending" for file in files})
        together = f"{' and '.join(endings)}{' together' if endings[1:] else ''} ({patterns.printable(odd)})"
        raise InputError(
            f"{where}.files: cannot read {together}; "
            f"give files of one kind: text (.txt, .md), JSON Lines (.jsonl, .json) or .parquet"
        )


def read(source: DocumentSource) -> datasets.Dataset:
    """All documents, as a dataset with one column `text`; empty ones are dropped. They are read once and cached.

    A text file among several is one document; a single text file holds one per paragraph (separated by empty lines).
    With `documents` in the study it is a sample of all, see `texts`. Raises InputError for text that cannot be read, or
    of which there is none.
    """
    datasets.disable_progress_bars()
    logging.getLogger("datasets").setLevel(logging.CRITICAL)  # what it logs, it raises too

    def build(unfinished: Path) -> None:
        alike = Alike()
        texts.write(_with_text(source, alike), unfinished, source.spec.documents)
        if not alike.holds:
            (unfinished / MIXED).touch()

    found = texts.opened(cache.build_once(texts_folder(source), build))
    if len(found) > SHOW_PROGRESS_OVER:
        datasets.enable_progress_bars()
    return found


def texts_folder(source: DocumentSource) -> Path:
    """Where the texts are cached that were read."""
    how = [source.read_as.key] if source.read_as else []
    return cache.root() / "texts" / fingerprint_of([READING_VERSION, source.fingerprint, *how])


def _with_text(source: DocumentSource, alike: Alike) -> Iterator[bytes]:
    """The documents that have any text. Raises InputError where none has."""
    spec, total, kept = source.spec, 0, 0
    for text in _documents(source, alike):
        total += 1
        if text:
            kept += 1
            yield text
    what = spec.dataset or patterns.printable(source.files[0])
    if not kept:
        have = " and the others have" if source.files[1:] else " has"
        field = "" if source.builder == "text" else f" in field {shown(spec.field)}"
        has = f"no {source.read_as.rows} that can be used" if source.read_as else f"no text{field}"
        raise InputError(f"{source.where}: the corpus is empty: {what}{have} {has}: give files with text")
    if kept < total:
        rows, why = (source.read_as.rows, "nothing to learn") if source.read_as else ("documents", "no text")
        log.warning("%s: %d of %d %s have %s and are left out", source.where, total - kept, total, rows, why)


def each(source: DocumentSource) -> Iterator[bytes]:
    """The documents of a source as they are read, without the cache. Raises InputError where none has text."""
    return _with_text(source, Alike())


def _documents(source: DocumentSource, alike: Alike) -> Iterator[bytes]:
    if source.builder == "hub":
        yield from hub.documents(source.spec, source.commit, source.where, source.read_as)
    if source.spec.embedded:
        embedded.fetch(source.spec.embedded)
    for file in source.files:
        yield from _of_file(file, source, alike)


def _of_file(file: str, source: DocumentSource, alike: Alike) -> Iterator[bytes]:
    spec, where = source.spec, source.where
    if source.read_as:
        return _records(file, source, source.read_as, alike)
    if source.builder == "parquet":
        return columns.parquet(Place(where, file, "row"), spec.field, alike)
    if source.builder == "json":
        return json_lines.documents(Place(where, file), spec.encoding, spec.field, alike)
    return plain_text.documents(Place(where, file), spec.encoding, by_paragraph=len(source.files) == 1)


def _records(file: str, source: DocumentSource, read_as: RecordText, alike: Alike) -> Iterator[bytes]:
    where = source.where
    if source.builder == "parquet":
        return columns.parquet_records(Place(where, file, "row"), read_as, alike)
    if source.builder == "text":
        kinds = "JSON Lines (.jsonl, .json) or .parquet"
        raise InputError(f"{where}.files: {patterns.printable(file)}: {read_as.rows} are read from {kinds}")
    found = json_lines.records(Place(where, file), source.spec.encoding, read_as.columns, alike)
    return (read_as.text(place, record, number) for place, number, record in found)


def as_files(source: DocumentSource, found: datasets.Dataset, folder: Path, final: Path) -> tuple[str, ...]:
    """The whole corpus as local files for other trainers, also where `found` is a sample. Where those would not read
    the same from the corpus' own files, its documents are written as JSON Lines into `folder`, which is later renamed
    to `final`. Of a data set of the hub, those of the sample are: the rest was not read.

    Trainers split plain text into documents in other ways, know no nested fields, take some names for patterns, and
    read whole records, which then have to be alike.
    """
    if source.builder != "text":
        nested, mixed = "." in source.spec.field, (texts_folder(source) / MIXED).exists()
        if not nested and not mixed and all(file.isprintable() and not glob.has_magic(file) for file in source.files):
            return source.files
    path = folder / "documents.jsonl"
    if source.spec.documents and source.files:
        with path.open("w", encoding="utf-8") as lines:
            for text in filter(None, _documents(source, Alike())):
                lines.write(json.dumps({"text": text.decode()}, ensure_ascii=False) + "\n")
    else:
        found.to_json(str(path), force_ascii=False)
    return (str(final / path.name),)
