"""Packed corpora: text as blocks of tokens on disk, split by document into training and held-out, cached by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from sweep.study import CorpusFacts, Ingredients, InputError
from sweep.study.files import cache
from sweep.study.study import fingerprint_of
from trainers.data import documents
from trainers.data.documents import DocumentSource

PACKING_VERSION = 1  # part of every cache key: raise it when the same text would give other blocks
SPLIT_SEED = 0
DOCUMENTS_PER_PACK = 10_000  # at most one incomplete block is dropped per pack
DOCUMENTS_AT_ONCE = 1_000  # tokenised together


@dataclass(frozen=True)
class PackedCorpus:
    """An opened corpus. Both parts are memory-mapped `datasets` tables of int32 blocks of `sequence_length` tokens."""

    facts: CorpusFacts
    training: datasets.Dataset
    held_out: datasets.Dataset


def blocks(part: datasets.Dataset, indices: Sequence[int]) -> NDArray[np.int64]:
    """The token ids of some blocks, shape (len(indices), sequence_length)."""
    return np.asarray(part[list(indices)]["input_ids"], dtype=np.int64)


@lru_cache(maxsize=8)
def open_packed(folder: Path) -> PackedCorpus:
    """The corpus that `prepare` packed into this folder."""
    facts = CorpusFacts.model_validate_json((folder / "facts.json").read_text())
    parts = (datasets.load_from_disk(str(folder / part)).with_format("numpy") for part in ("training", "held_out"))
    return PackedCorpus(facts, *parts)


def open_corpora(ingredients: Ingredients) -> dict[str, PackedCorpus]:
    """The corpora of a run, by source."""
    return {name: open_packed(Path(folder)) for name, folder in ingredients.folders.items()}


def prepare(
    source: DocumentSource, tokenizer: Any, sequence_length: int, progress: Callable[[float], None] = lambda share: None
) -> Path:
    """Pack a corpus, or find it in the cache; returns its folder, for `open_packed`.

    `progress` receives the share of the documents that is tokenised. Raises InputError for text that is unreadable,
    empty, or too short for a held-out part.
    """
    folder = packed_folder(source, tokenizer, sequence_length)

    def build(unfinished: Path) -> None:
        _build(source, _Packing(tokenizer, sequence_length, unfinished, progress), folder)

    return cache.build_once(folder, build)


def packed_folder(source: DocumentSource, tokenizer: Any, sequence_length: int) -> Path:
    """The folder in the cache for a corpus that is packed with this tokenizer; it may not exist yet."""
    spec = source.spec
    key = {"version": PACKING_VERSION, "text": source.fingerprint, "tokenizer": tokenizer_fingerprint(tokenizer)}
    key |= {"sequence_length": sequence_length, "held_out": spec.held_out, "documents": spec.documents}
    key |= {"files": "whole"} if spec.documents and source.files else {}  # once they held the sample alone
    return cache.root() / "corpora" / fingerprint_of(key)


def tokenizer_fingerprint(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return fingerprint_of([backend.to_str() if backend else tokenizer.get_vocab(), tokenizer.eos_token_id])


@dataclass
class _Packing:
    """How the two parts of a corpus are packed, and into which `folder`. `done` of `documents` are tokenised."""

    tokenizer: Any
    length: int
    folder: Path
    progress: Callable[[float], None]
    documents: int = 1
    done: int = 0


def _build(source: DocumentSource, packing: _Packing, final: Path) -> None:
    """Fill the packing's folder, which is later renamed to `final`."""
    spec, where = source.spec, source.where
    texts = documents.read(source)
    datasets.disable_progress_bars()  # `progress` has what the user sees
    if packing.tokenizer.eos_token_id is None:
        raise InputError(f"{where}: the base model's tokenizer has no end-of-text token to separate documents with")
    files = documents.as_files(source, texts, packing.folder, final)
    held_out, training = split(texts, spec.held_out, where)
    packing.documents = len(held_out) + len(training)
    counts: dict[str, Any] = {}
    for part, rows in (("training", training), ("held_out", held_out)):
        found = _pack(texts.select(rows), packing, part)
        if not found["blocks"]:
            raise InputError(
                f"{where}: its {part.replace('_', '-')} text is shorter than one block of {packing.length} tokens; "
                f"add text, change held_out ({spec.held_out}), or shorten training.sequence_length"
            )
        counts |= {("held_out_" if part == "held_out" else "") + name: value for name, value in found.items()}
    facts = CorpusFacts(fingerprint=final.name, files=files, **counts)
    (packing.folder / "facts.json").write_text(facts.model_dump_json(indent=2))


def split(texts: datasets.Dataset, share: float, where: str) -> tuple[list[int], list[int]]:
    """Row numbers (held-out, training): whole documents in a fixed random order until `share` of the bytes is held out.

    A smaller share holds out a subset of what a larger one does. Copies of held-out documents are in neither part.
    Raises InputError where no training document is left.
    """
    size, digests = np.empty(len(texts), np.int64), []  # one digest per document: the texts may not fit into memory
    for row, text in enumerate(texts["text"]):
        encoded = text.encode()
        size[row] = len(encoded)
        digests.append(hashlib.blake2b(encoded, digest_size=16).digest())
    order = np.random.default_rng(SPLIT_SEED).permutation(len(texts))
    held_out = 1 + int(np.searchsorted(np.cumsum(size[order]), share * size.sum()))
    if held_out >= len(texts):
        raise InputError(
            f"{where}: no text is left to train on after the hold-out ({len(texts)} documents, held_out {share}); "
            f"give more documents or a smaller held_out"
        )
    rows = order[:held_out].tolist()
    unseen = {digests[row] for row in rows}
    training = [row for row in order[held_out:].tolist() if digests[row] not in unseen]
    if not training:
        raise InputError(f"{where}: every document is a copy of a held-out one: give other documents")
    return sorted(rows), sorted(training)


def _pack(texts: datasets.Dataset, packing: _Packing, part: str) -> dict[str, int]:
    """Tokenise documents, concatenate them and cut them into blocks; an incomplete last block is dropped.

    Saves the blocks as a folder named `part` and returns its counts.
    """
    counts = {"documents": len(texts), "tokens": 0, "bytes": 0}

    def cut(batch: dict[str, list[str]]) -> dict[str, Any]:
        stream = np.concatenate(list(_tokenized(batch["text"], packing)))
        counts["tokens"] += len(stream)
        counts["bytes"] += sum(len(text.encode()) for text in batch["text"])
        return {"input_ids": stream[: len(stream) // packing.length * packing.length].reshape(-1, packing.length)}

    blocks_file = packing.folder / f"{part}.arrow"  # until it is saved: a copy in the cache of `datasets` would stay
    features = datasets.Features({"input_ids": datasets.Sequence(datasets.Value("int32"), length=packing.length)})
    kept = {"cache_file_name": str(blocks_file), "load_from_cache_file": False, "new_fingerprint": part}
    columns = texts.column_names
    packed = texts.map(
        cut, batched=True, batch_size=DOCUMENTS_PER_PACK, remove_columns=columns, features=features, **kept
    )
    packed.save_to_disk(str(packing.folder / part))
    counts["blocks"] = len(packed)
    del packed
    blocks_file.unlink(missing_ok=True)  # `datasets` writes none for no blocks
    return counts


def _tokenized(texts: list[str], packing: _Packing) -> Iterator[NDArray[np.int32]]:
    """The token ids of each document, with the end-of-text token."""
    end = [packing.tokenizer.eos_token_id]
    for first in range(0, len(texts), DOCUMENTS_AT_ONCE):
        some = texts[first : first + DOCUMENTS_AT_ONCE]
        for ids in packing.tokenizer(some, add_special_tokens=False, verbose=False)["input_ids"]:
            yield np.asarray(ids + end, dtype=np.int32)
        packing.done += len(some)
        packing.progress(packing.done / packing.documents)
