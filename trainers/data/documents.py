"""Where a corpus' documents come from: the embedded pair, local files, or a Hugging Face dataset."""

from __future__ import annotations

import glob
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from huggingface_hub import HfApi

from sweep.study.errors import InputError
from sweep.study.files import cache
from sweep.study.files.atomic import sha256
from sweep.study.sections.corpora import Corpus
from sweep.study.study import fingerprint_of
from trainers.data import embedded

SHOW_PROGRESS_OVER = 5000  # documents; fewer take seconds
BUILDERS = {".txt": "text", ".md": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
COMPRESSED = (".gz", ".zst", ".bz2", ".xz")


@dataclass(frozen=True)
class DocumentSource:
    """Text that was found but not yet read. `fingerprint` stands for its content and how it is read."""

    builder: str
    files: tuple[str, ...]
    fingerprint: str


def resolve(spec: Corpus, where: str) -> DocumentSource:
    if spec.dataset:
        return DocumentSource(
            "hub", (), fingerprint_of(_hub_arguments(spec) | {"field": spec.field, "commit": _commit(spec)})
        )
    files = [str(embedded.fetch(spec.embedded))] if spec.embedded else _matches(spec, where)
    builder = _builder(files, where)
    content = [_sha256(file, where) for file in files]
    return DocumentSource(builder, tuple(files), fingerprint_of([builder, spec.field, spec.encoding, content]))


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


def read(spec: Corpus, where: str, source: DocumentSource) -> datasets.Dataset:
    """All documents, as a dataset with one column `text`; empty ones are dropped.

    A text file among several is one document; a single text file has one per paragraph (parted by empty lines).
    """
    datasets.disable_progress_bars()
    logging.getLogger("datasets").setLevel(logging.CRITICAL)  # what it reports comes as an exception too
    try:
        rows = _load(spec, source)
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


def _load(spec: Corpus, source: DocumentSource) -> datasets.Dataset:
    if source.builder == "hub":
        return _load_hub(spec)
    options: dict[str, Any] = {}
    if source.builder == "text":
        sample_by = "document" if len(source.files) > 1 else "paragraph"
        # "utf-8-sig" also takes off the mark that some editors put before the first letter.
        options = {"sample_by": sample_by, "encoding": "utf-8-sig" if spec.encoding == "utf-8" else spec.encoding}
    elif source.builder == "json":
        options = {"encoding": spec.encoding}
    # `datasets` knows files by their path and time, we by content: the same path may hold other text.
    folder = str(cache.root() / "datasets" / source.fingerprint)
    return datasets.load_dataset(
        source.builder, data_files=list(source.files), split="train", cache_dir=folder, **options
    )


def _hub_arguments(spec: Corpus) -> dict[str, Any]:
    return {"path": spec.dataset, "name": spec.config, "split": spec.split, "revision": spec.revision}


def _commit(spec: Corpus) -> str | None:
    """The commit that a Hugging Face dataset stands at now; None for what is not on the hub or out of reach."""
    try:
        return HfApi().dataset_info(spec.dataset or "", revision=spec.revision).sha
    except Exception:  # the errors of several network libraries come through
        return None  # loading it says what is wrong


def _load_hub(spec: Corpus) -> datasets.Dataset:
    if spec.documents is None:
        return datasets.load_dataset(**_hub_arguments(spec), cache_dir=str(cache.root() / "datasets"))
    # Streaming reads only the head of what may be terabytes.
    stream = datasets.load_dataset(**_hub_arguments(spec), streaming=True)
    if spec.field in (stream.column_names or [spec.field]):
        stream = stream.select_columns([spec.field])
    return datasets.Dataset.from_list(list(stream.take(spec.documents)))


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
    """The documents as local files that other trainers read alike: text files differ there in what a document is."""
    if source.builder != "text":
        return source.files
    texts.to_json(str(folder / "documents.jsonl"), force_ascii=False)
    return (str(final / "documents.jsonl"),)
