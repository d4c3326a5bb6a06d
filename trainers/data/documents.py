"""Where a corpus' documents come from: the embedded pair, local files, or a Hugging Face dataset."""

from __future__ import annotations

import glob
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from sweep.study import InputError
from sweep.study.files import cache
from sweep.study.files.atomic import sha256
from sweep.study.sections.corpora import Corpus
from sweep.study.study import fingerprint_of
from trainers.data import embedded, hub

SHOW_PROGRESS_OVER = 5000  # documents; fewer take seconds
BUILDERS = {".txt": "text", ".md": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
COMPRESSED = (".gz", ".zst", ".bz2", ".xz")


@dataclass(frozen=True)
class DocumentSource:
    """Text that was found but not yet read. `where` is the study's field, for errors.

    `fingerprint` identifies the content and how it is read; `commit` is that of a data set of the hub.
    """

    spec: Corpus
    where: str
    fingerprint: str
    builder: str = "hub"
    files: tuple[str, ...] = ()
    commit: str | None = None


def resolve(spec: Corpus, where: str, recorded: hub.RecordedCommit = hub.UNRECORDED) -> DocumentSource:
    """Find a corpus' text. `recorded`: see `hub.commit`.

    Raises InputError for files that are missing, empty or of several kinds, and for a data set of unknown commit.
    """
    if spec.dataset:
        commit = hub.commit(hub.repository(spec, where), recorded)
        fingerprint = fingerprint_of(hub.arguments(spec) | {"field": spec.field, "commit": commit})
        return DocumentSource(spec, where, fingerprint, commit=commit)
    files = [str(embedded.fetch(spec.embedded))] if spec.embedded else _matches(spec, where)
    builder = _builder(files, where)
    content = [_sha256(file, where) for file in files]
    fingerprint = fingerprint_of([builder, spec.field, spec.encoding, content])
    return DocumentSource(spec, where, fingerprint, builder, tuple(files))


def _sha256(file: str, where: str) -> str:
    try:
        return sha256(Path(file))
    except OSError as error:
        raise InputError(f"{where}.files: {file} cannot be read: {error.strerror}") from None


def _matches(spec: Corpus, where: str) -> list[str]:
    found: list[str] = []
    for pattern in spec.files or ():
        matches = sorted(f for f in glob.glob(pattern, recursive=True) if Path(f).is_file())
        if not matches:
            problem = "is a folder: name the files in it (*.jsonl)" if Path(pattern).is_dir() else "matches no file"
            raise InputError(f"{where}.files: {pattern} {problem}")
        found += matches
    if not any(Path(file).stat().st_size for file in found):
        raise InputError(f"{where}.files: the corpus is empty: every file has 0 bytes")
    return list(dict.fromkeys(found))  # patterns may overlap


def _builder(files: list[str], where: str) -> str:
    suffixes = {next(s for s in reversed(["", *Path(f).suffixes]) if s not in COMPRESSED) for f in files}
    builders = {BUILDERS.get(suffix.lower()) for suffix in suffixes}
    builder = builders.pop()
    if builders or builder is None:
        raise InputError(
            f"{where}.files: cannot read {', '.join(sorted(suffixes)) or 'files'} together; "
            f"give files of one kind: text (.txt, .md), JSON Lines (.jsonl) or .parquet"
        )
    return builder


def read(source: DocumentSource) -> datasets.Dataset:
    """All documents, as a dataset with one column `text`; empty ones are dropped.

    A text file among several is one document; a single text file holds one per paragraph (separated by empty lines).
    Raises InputError for text that cannot be read, or of which there is none.
    """
    spec, where = source.spec, source.where
    datasets.disable_progress_bars()
    logging.getLogger("datasets").setLevel(logging.CRITICAL)  # what it logs, it raises too
    try:
        rows = hub.load(spec, source.commit) if source.builder == "hub" else _load_files(source)
    except Exception as error:  # the loaders of `datasets` raise whatever their readers raise
        raise InputError(f"{where}: {_explain(error, spec)}") from None
    if spec.documents and source.builder != "hub":
        rows = rows.select(range(min(spec.documents, len(rows))))
    if len(rows) > SHOW_PROGRESS_OVER:
        datasets.enable_progress_bars()
    texts = _text_column(rows, spec, where)
    texts = texts.filter(lambda batch: [bool(t and t.strip()) for t in batch["text"]], batched=True, desc="reading")
    if not len(texts):
        raise InputError(f"{where}: the corpus is empty: no document has any text in field {spec.field!r}")
    return texts


def _load_files(source: DocumentSource) -> datasets.Dataset:
    options: dict[str, Any] = {}
    encoding = source.spec.encoding
    if source.builder == "text":
        sample_by = "document" if len(source.files) > 1 else "paragraph"
        # "utf-8-sig" also drops the byte-order mark that some editors write.
        options = {"sample_by": sample_by, "encoding": "utf-8-sig" if encoding == "utf-8" else encoding}
    elif source.builder == "json":
        options = {"encoding": encoding}
    # The cache of `datasets` goes by path and time; a folder by content keeps other text at the same path apart.
    folder = str(cache.root() / "datasets" / source.fingerprint)
    return datasets.load_dataset(
        source.builder, data_files=list(source.files), split="train", cache_dir=folder, **options
    )


def _text_column(rows: datasets.Dataset, spec: Corpus, where: str) -> datasets.Dataset:
    if not rows.column_names:
        raise InputError(f"{where}: the corpus is empty")
    # The text builder names its column itself, whatever `field` says.
    field = "text" if rows.column_names == ["text"] else spec.field
    if field not in rows.column_names:
        raise InputError(f"{where}.field: there is no {field!r}; the columns are {', '.join(rows.column_names)}")
    kind = getattr(rows.features[field], "dtype", "a list")
    if kind not in ("string", "large_string", "null"):
        raise InputError(f"{where}.field: {field!r} holds {kind}, not text; the columns are {dict(rows.features)}")
    rows = rows.select_columns([field])
    return rows if field == "text" else rows.rename_column(field, "text")


def _explain(error: BaseException, spec: Corpus) -> str:
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    if any(isinstance(e, UnicodeError | LookupError) for e in chain):
        return f"not readable as {spec.encoding}: state the right `encoding:` (gb18030, latin-1, ...)"
    detail = " ".join(str(chain[-1]).split()) or type(chain[-1]).__name__
    return f"could not be read: {detail[:300]}"


def as_files(source: DocumentSource, texts: datasets.Dataset, folder: Path, final: Path) -> tuple[str, ...]:
    """The documents as local files for other trainers, which split plain text into documents in other ways: that is
    written as JSON Lines into `folder`, which is later renamed to `final`.
    """
    if source.builder != "text":
        return source.files
    texts.to_json(str(folder / "documents.jsonl"), force_ascii=False)
    return (str(final / "documents.jsonl"),)
