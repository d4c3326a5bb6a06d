"""Packed corpora: text as blocks of tokens on disk, split by document into training and held-out, cached by content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from sweep.study import LANGUAGES, CorpusFacts, Ingredients, InputError
from sweep.study.files import cache
from sweep.study.study import fingerprint_of
from trainers.data import documents
from trainers.data.documents import DocumentSource

PACKING_VERSION = 1  # part of every cache key: raise it when the same text would give other blocks
SPLIT_SEED = 0
DOCUMENTS_PER_PACK = 10_000  # at most one incomplete block is dropped per pack


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
    """Both corpora of a run, by language."""
    return {language: open_packed(Path(ingredients.folders[language])) for language in LANGUAGES}


def prepare(source: DocumentSource, tokenizer: Any, sequence_length: int) -> Path:
    """Pack a corpus, or find it in the cache; returns its folder, for `open_packed`.

    Raises InputError for text that is unreadable, empty, or too short for a held-out part.
    """
    spec = source.spec
    key = {"version": PACKING_VERSION, "text": source.fingerprint, "tokenizer": tokenizer_fingerprint(tokenizer)}
    key |= {"sequence_length": sequence_length, "held_out": spec.held_out, "documents": spec.documents}
    folder = cache.root() / "corpora" / fingerprint_of(key)
    return cache.build_once(folder, lambda unfinished: _build(source, tokenizer, sequence_length, folder, unfinished))


def tokenizer_fingerprint(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return fingerprint_of([backend.to_str() if backend else tokenizer.get_vocab(), tokenizer.eos_token_id])


def _build(source: DocumentSource, tokenizer: Any, length: int, final: Path, folder: Path) -> None:
    """Fill `folder`, which is later renamed to `final`."""
    held_out_share, where = source.spec.held_out, source.where
    texts = documents.read(source)
    if tokenizer.eos_token_id is None:
        raise InputError(f"{where}: the base model's tokenizer has no end-of-text token to separate documents with")
    files = documents.as_files(source, texts, folder, final)
    held_out, training = split(texts, held_out_share, where)
    counts: dict[str, Any] = {}
    for part, rows in (("training", training), ("held_out", held_out)):
        tokens = _tokenize(texts.select(rows), tokenizer)
        packed = _pack(tokens, length)
        if not len(packed):
            raise InputError(
                f"{where}: its {part.replace('_', '-')} text is shorter than one block of {length} tokens; "
                f"add text, change held_out ({held_out_share}), or shorten training.sequence_length"
            )
        packed.save_to_disk(str(folder / part))
        prefix = "held_out_" if part == "held_out" else ""
        sums = {"documents": len(tokens), "tokens": sum(tokens["length"]), "bytes": sum(tokens["bytes"])}
        counts |= {prefix + name: value for name, value in (sums | {"blocks": len(packed)}).items()}
    facts = CorpusFacts(fingerprint=final.name, files=files, **counts)
    (folder / "facts.json").write_text(facts.model_dump_json(indent=2))


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


def _tokenize(texts: datasets.Dataset, tokenizer: Any) -> datasets.Dataset:
    end = [tokenizer.eos_token_id]

    def encode(batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        ids = [row + end for row in tokenizer(batch["text"], add_special_tokens=False, verbose=False)["input_ids"]]
        size = [len(text.encode()) for text in batch["text"]]
        return {"input_ids": ids, "length": [len(row) for row in ids], "bytes": size}

    return texts.map(encode, batched=True, remove_columns=["text"], keep_in_memory=False, desc="tokenising")


def _pack(tokens: datasets.Dataset, length: int) -> datasets.Dataset:
    """Concatenate documents and cut them into blocks of `length` tokens; an incomplete last block is dropped."""

    def cut(batch: dict[str, list[list[int]]]) -> dict[str, Any]:
        stream = np.concatenate([np.asarray(row, dtype=np.int32) for row in batch["input_ids"]])
        return {"input_ids": stream[: len(stream) // length * length].reshape(-1, length)}

    features = datasets.Features({"input_ids": datasets.Sequence(datasets.Value("int32"), length=length)})
    columns = tokens.column_names
    return tokens.map(
        cut, batched=True, batch_size=DOCUMENTS_PER_PACK, remove_columns=columns, features=features, desc="packing"
    )
