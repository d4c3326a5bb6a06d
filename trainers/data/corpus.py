"""Packed corpora: text as blocks of tokens on disk, split by document into training and held-out, cached by content."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from sweep.study import CorpusFacts, Ingredients, InputError
from sweep.study.files import cache, patterns
from sweep.study.files.atomic import sha256
from sweep.study.study import fingerprint_of
from trainers.data import documents
from trainers.data.conversations.rows import COLUMNS
from trainers.data.documents import DocumentSource
from trainers.data.hold_out import choice, held_out_texts, near_copies
from trainers.data.tokens import lost_text
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.data.tokens.tokenised import Tokenised, tokenise

PACKING_VERSION = 2  # part of every cache key: raise it when the same text would give other blocks (a test pins them)
DOCUMENTS_PER_PACK = 10_000  # at most one incomplete block is dropped per pack
PART_SEED = 0  # of the part of a corpus that trials read
TRAINING = "training.npy"  # one bit for each document: whether it is trained on


@dataclass(frozen=True)
class PackedCorpus:
    """An opened corpus. Both parts are memory-mapped `datasets` tables of int32 blocks of `sequence_length` tokens."""

    facts: CorpusFacts
    training: datasets.Dataset
    held_out: datasets.Dataset


def blocks(part: datasets.Dataset, indices: Sequence[int]) -> NDArray[np.int64]:
    """The token ids of some blocks, shape (len(indices), sequence_length); of conversations their rows, with a last
    dimension of 3, see `trainers.data.conversations.rows`.
    """
    read = part[list(indices)]
    if COLUMNS[1] not in read:
        return np.asarray(read["input_ids"], dtype=np.int64)
    return np.stack([np.asarray(read[name], dtype=np.int64) for name in COLUMNS], axis=-1)


def held_out_blocks(corpus: PackedCorpus, most: int) -> NDArray[np.int64]:
    """At most `most` blocks, at least one, evenly spaced over the held-out documents; shape as of `blocks`."""
    return blocks(corpus.held_out, evenly_spaced(len(corpus.held_out), most).tolist())


def evenly_spaced(total: int, most: int) -> NDArray[np.int64]:
    """The numbers of at most `most` out of `total` blocks, at least one."""
    return np.linspace(0, total - 1, min(total, max(1, most))).round().astype(np.int64)


@lru_cache(maxsize=8)
def open_packed(folder: Path) -> PackedCorpus:
    """The corpus that `prepare` packed into this folder."""
    facts = CorpusFacts.model_validate_json((folder / "facts.json").read_text())
    parts = (datasets.load_from_disk(str(folder / part)).with_format("numpy") for part in ("training", "held_out"))
    return PackedCorpus(facts, *parts)


def open_corpora(ingredients: Ingredients) -> dict[str, PackedCorpus]:
    """The corpora of a run, by source, as its trials read them."""
    found = {name: open_packed(Path(folder)) for name, folder in ingredients.folders.items()}
    return {name: part(corpus, ingredients.corpora[name].trial_blocks) for name, corpus in found.items()}


def part(corpus: PackedCorpus, size: int | None) -> PackedCorpus:
    """The corpus with `size` of its training blocks, drawn at random and in their order; with all where it has no more.

    The draw depends on nothing but their number, and a smaller part is contained in a larger one. Its other facts are
    those of the whole corpus.
    """
    if size is None or size >= len(corpus.training):
        return corpus
    drawn = np.sort(np.random.default_rng(PART_SEED).permutation(len(corpus.training))[:size])
    facts = corpus.facts.model_copy(update={"blocks": size, "trial_blocks": size})
    return replace(corpus, facts=facts, training=corpus.training.select(drawn))


def prepare(
    source: DocumentSource,
    tokenizer: TextTokenizer,
    sequence_length: int,
    progress: Callable[[float], None] = lambda share: None,
    others: Sequence[Path] = (),
) -> Path:
    """Pack a corpus, or find it in the cache; returns its folder, for `open_packed`.

    `progress` receives the share of the documents that is tokenised. `others` are the held-out texts of other corpora
    (`held_out.jsonl` in their folders), which is not trained on either. Raises InputError for text that is unreadable,
    empty, or too short for a held-out part.
    """
    packing = _Packing(source, tokenizer, sequence_length, progress)
    alone = packed_folder(source, tokenizer, sequence_length)
    alone = cache.build_once(alone, lambda unfinished: packing.build(unfinished, alone))
    if not others:
        return alone
    folder = alone.with_name(fingerprint_of([alone.name, *(sha256(path) for path in others)]))
    return cache.build_once(folder, lambda unfinished: packing.build_beside(unfinished, folder, alone, others))


def packed_folder(source: DocumentSource, tokenizer: TextTokenizer, sequence_length: int) -> Path:
    """The folder in the cache for a corpus that is packed with this tokenizer; it may not exist yet."""
    spec = source.spec
    key = {"version": PACKING_VERSION, "text": source.fingerprint, **tokenizer.key}
    key |= {"sequence_length": sequence_length, "held_out": spec.held_out, "documents": spec.documents}
    key |= {"near_copies": "keep"} if spec.near_copies == "keep" else {}
    key |= {"files": "whole"} if spec.documents and source.files else {}  # once they held the sample alone
    key |= {"held_out_of": source.held_out_of.name} if source.held_out_of else {}
    return cache.root() / "corpora" / fingerprint_of(key)


@dataclass(frozen=True)
class _Packing:
    """How a corpus is packed: into blocks of `length` tokens."""

    source: DocumentSource
    tokenizer: TextTokenizer
    length: int
    progress: Callable[[float], None]

    def build(self, folder: Path, final: Path, others: Sequence[Path] = ()) -> None:
        """Fill a folder, which is later renamed to `final`."""
        spec, where = self.source.spec, self.source.where
        texts = documents.read(self.source)
        datasets.disable_progress_bars()  # `progress` has what the user sees
        files = documents.as_files(self.source, texts, folder, final)
        self._refuse_one(texts)
        lost_text.refuse(texts, self.tokenizer, where)
        tokenised = tokenise(texts, self.tokenizer, folder, self.progress)
        tokenised.tell(where)
        chosen = choice.choose(texts, tokenised.tokens, spec, where, others, self.source.held_out_of)
        counts = {"blocks": self._pack(tokenised, chosen.training, folder / "training")}
        counts["held_out_blocks"] = self._pack(tokenised, chosen.held_out, folder / "held_out")
        self._refuse_short(counts, chosen)
        tokenised.file.unlink()
        held_out_texts.write(held_out_texts.Rows(texts, chosen.held_out), folder)
        _write_training(folder, chosen.training, len(texts))
        counts |= _counts(tokenised, chosen)
        unknown = {"near_copies": None, "near_copied_tokens": None} if spec.near_copies == "keep" else {}
        borders = self.tokenizer.borders
        ends = {"bos": bool(borders.before), "eos": bool(borders.after)}
        facts = CorpusFacts(fingerprint=final.name, files=files, **{**counts, **ends, **unknown})
        (folder / "facts.json").write_text(facts.model_dump_json(indent=2))

    def _refuse_one(self, texts: datasets.Dataset) -> None:
        """Raises InputError for a text file without blank lines, which many write with one document a line."""
        if len(texts) == 1 and self.source.builder == "text" and len(self.source.files) == 1:
            raise InputError(
                f"{self.source.where}: {patterns.printable(self.source.files[0])} is one document, so nothing can be "
                f"held out: blank lines separate the documents of a single text file: add them, or give several files"
            )

    def build_beside(self, folder: Path, final: Path, alone: Path, others: Sequence[Path]) -> None:
        """Fill a folder with the corpus without what repeats held-out text of others. Without any, `alone` is it."""
        texts = documents.read(self.source)
        held_out = held_out_texts.Together([held_out_texts.TextFile(path) for path in others])
        exact_alone = self.source.spec.near_copies == "keep"
        found = near_copies.find(texts, _read_training(alone, len(texts)), held_out, exact_alone)
        if found.exact or found.near:
            return self.build(folder, final, others)
        shutil.copytree(alone, folder, copy_function=_link, dirs_exist_ok=True)
        facts = CorpusFacts.model_validate_json((alone / "facts.json").read_text())
        files = tuple(file.replace(f"{alone}/", f"{final}/") for file in facts.files)
        (folder / "facts.json").unlink()
        (folder / "facts.json").write_text(
            facts.model_copy(update={"fingerprint": final.name, "files": files}).model_dump_json(indent=2)
        )

    def _pack(self, tokenised: Tokenised, rows: list[int], folder: Path) -> int:
        """Concatenate documents and cut them into blocks; an incomplete last block is dropped. Returns their number."""

        def cut(batch: dict[str, list[int]]) -> dict[str, Any]:
            stream = tokenised.read(batch["row"])
            return {"input_ids": stream[: len(stream) // self.length * self.length].reshape(-1, self.length)}

        blocks_file = folder.with_suffix(".arrow")  # until it is saved: a copy in the cache of `datasets` would stay
        features = datasets.Features({"input_ids": datasets.Sequence(datasets.Value("int32"), length=self.length)})
        kept = {"cache_file_name": str(blocks_file), "load_from_cache_file": False, "new_fingerprint": folder.name}
        packed = datasets.Dataset.from_dict({"row": rows}).map(
            cut, batched=True, batch_size=DOCUMENTS_PER_PACK, remove_columns=["row"], features=features, **kept
        )
        packed.save_to_disk(str(folder))
        count = len(packed)
        del packed
        blocks_file.unlink(missing_ok=True)  # `datasets` writes none for no blocks
        return count

    def _refuse_short(self, counts: dict[str, int], chosen: choice.Choice) -> None:
        for part, blocks in (("training", counts["blocks"]), ("held-out", counts["held_out_blocks"])):
            if not blocks:
                copies = chosen.copies.exact or chosen.copies.near
                dropped = f" without what repeats held-out text ({choice.told(chosen.copies)})" if copies else ""
                raise InputError(
                    f"{self.source.where}: its {part} text is shorter than one block of {self.length} tokens"
                    f"{dropped if part == 'training' else ''}; add text, change held_out "
                    f"({self.source.spec.held_out}), or shorten training.sequence_length"
                )


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a disk that has no links
        shutil.copyfile(source, target)


def _write_training(folder: Path, rows: list[int], documents: int) -> None:
    trained_on = np.zeros(documents, bool)
    trained_on[rows] = True
    np.save(folder / TRAINING, np.packbits(trained_on))


def _read_training(folder: Path, documents: int) -> list[int]:
    rows: list[int] = np.flatnonzero(np.unpackbits(np.load(folder / TRAINING), count=documents)).tolist()
    return rows


def _counts(tokenised: Tokenised, chosen: choice.Choice) -> dict[str, int]:
    """The counts of documents, tokens and bytes of the parts of a corpus, by the name of the fact."""
    copies = chosen.copies
    return {
        "documents": len(chosen.training),
        "tokens": int(tokenised.tokens[chosen.training].sum()),
        "bytes": int(tokenised.bytes[chosen.training].sum()),
        "held_out_documents": len(chosen.held_out),
        "held_out_tokens": int(tokenised.tokens[chosen.held_out].sum()),
        "held_out_bytes": int(tokenised.bytes[chosen.held_out].sum()),
        "copies": len(copies.exact),
        "copied_tokens": int(tokenised.tokens[copies.exact].sum()),
        "near_copies": len(copies.near),
        "near_copied_tokens": int(tokenised.tokens[copies.near].sum()),
        "special_strings": sum(tokenised.special.values()),
        "borders_inside": tokenised.inside,
    }
