"""Packed conversations: as `trainers.data.corpus` packs text, with a column of targets, split by conversation, cached.

Held-out blocks are filled as those for training are, but what fills them is no target there: each held-out target
counts once.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from sweep.study import CorpusFacts, InputError
from sweep.study.files import cache
from sweep.study.files.atomic import sha256
from sweep.study.ingredients import ConversationFacts
from sweep.study.numbers import percent
from sweep.study.sections.text.corpora import Corpus
from sweep.study.study import fingerprint_of
from trainers.data import documents
from trainers.data.conversations import best_fit, messages, template_date
from trainers.data.conversations.rendering import ChatRenderer
from trainers.data.conversations.rows import COLUMNS
from trainers.data.conversations.tokenised import TokenisedConversations, tokenise
from trainers.data.documents import DocumentSource
from trainers.data.hold_out import choice, held_out_texts
from trainers.data.tokens import lost_text
from trainers.data.tokens.text_tokenizer import TextTokenizer

log = logging.getLogger(__name__)
VERSION = 2  # part of every cache key: raise it when the same conversations would give other blocks
MUCH_FILLED = 0.05  # of the tokens: where more fills gaps, a warning says so
Block = dict[str, list[int]]


def prepare(
    source: DocumentSource,
    tokenizer: TextTokenizer,
    sequence_length: int,
    progress: Callable[[float], None] = lambda share: None,
    others: Sequence[Path] = (),
) -> Path:
    """Pack a corpus of conversations, or find it in the cache; returns its folder, for `corpus.open_packed`.

    Arguments as of `corpus.prepare`; the tokenizer has its chat template. Raises InputError for what is no
    conversation, for a template that does not suit it, and where too little is left to train on or to hold out.
    """
    asked = replace(source, read_as=messages.read_as(source.spec))
    renderer = ChatRenderer.of(tokenizer.tokenizer)
    texts = [VERSION, documents.texts_folder(asked).name, tokenizer.key, renderer.key, sequence_length]
    tokens = cache.root() / "conversations" / fingerprint_of(texts)

    def build(unfinished: Path) -> None:
        found = documents.read(asked)
        lost_text.refuse(_said(found), tokenizer, asked.where)
        tokenise(found, renderer, sequence_length, unfinished, asked.where, progress)

    tokenised = TokenisedConversations.opened(cache.build_once(tokens, build))
    key = [*texts, asked.spec.held_out, asked.spec.near_copies, *(sha256(path) for path in others)]
    key += [asked.held_out_of.name] if asked.held_out_of else []
    final = cache.root() / "corpora" / fingerprint_of(key)
    packing = _ConversationPacking(asked, tokenised, sequence_length, others, final, renderer.dated)
    return cache.build_once(final, packing.build)


def of_files(spec: Corpus, where: str, renderer: ChatRenderer, length: int) -> NDArray[np.int64]:
    """The conversations of files as rows (blocks, length, 3), each with its targets once. Memory holds all of them.

    Raises InputError that names the file for what is no conversation, and where no target is within a sequence.
    """
    source = DocumentSource(spec, where, "", "json", tuple(spec.files or ()), read_as=messages.read_as(spec))
    read = (messages.of(text.decode()) for text in documents.each(source))
    rendered = [renderer.render(one) for one in read if not renderer.imitates(one)]
    known = [(one.ids[:length], one.targets[:length]) for one in rendered if any(one.targets[:length])]
    if not known:
        raise InputError(f"{where}: no assistant speaks within {length:,} tokens: give other conversations")
    sizes, found = [len(ids) for ids, _ in known], []
    for block, more in best_fit.filled(best_fit.packed(sizes, length), sizes, length):
        pieces = [(row, sizes[row], 1) for row in block] + [(row, size, 0) for row, size in more]
        parts = [
            np.stack([known[row][0][:size], np.asarray(known[row][1][:size]) * counted, np.arange(size)], axis=-1)
            for row, size, counted in pieces
        ]
        found.append(np.concatenate(parts))
    return np.stack(found)


def _said(texts: datasets.Dataset) -> datasets.Dataset:
    """A view of conversations as what is said in them."""
    return texts.with_transform(lambda batch: {"text": [messages.said(messages.of(text)) for text in batch["text"]]})


@dataclass(frozen=True)
class _ConversationPacking:
    source: DocumentSource
    tokenised: TokenisedConversations
    length: int
    others: Sequence[Path]
    final: Path
    dated: bool

    def build(self, folder: Path) -> None:
        """Fill a folder, which is later renamed to `final`."""
        spec, where = self.source.spec, self.source.where
        texts = documents.read(self.source)
        datasets.disable_progress_bars()  # the caller shows the progress
        self.tokenised.tell(where, self.length)
        if self.dated:
            log.warning("%s: %s", where, template_date.SAID)
        known = self.tokenised.usable
        said, sizes = _said(texts.select(known)), self.tokenised.of("tokens")[known]
        chosen = choice.choose(said, sizes, spec, where, self.others, self.source.held_out_of)
        training, held_out = (known[rows].tolist() for rows in (chosen.training, chosen.held_out))
        self._refuse_short(training)
        counts = {"blocks": self._pack(training, folder / "training", fill_targets=True)}
        counts["held_out_blocks"] = self._pack(held_out, folder / "held_out", fill_targets=False)
        _write_held_out(texts.select(held_out), folder)
        facts = self._facts(training, held_out, chosen.copies, known, counts)
        self._tell_filled(facts)
        (folder / "facts.json").write_text(facts.model_dump_json(indent=2))

    def _pack(self, rows: list[int], folder: Path, fill_targets: bool) -> int:
        """Write the blocks of some conversations; returns their number. `fill_targets`: whether what fills a gap has
        targets too.
        """
        kinds = zip(COLUMNS, ("int32", "int8", "int32"), strict=True)
        features = {name: datasets.Sequence(datasets.Value(kind), length=self.length) for name, kind in kinds}
        making = folder.with_suffix(".making")  # until it is saved: a copy in the cache of `datasets` would stay
        made = datasets.Dataset.from_generator(
            self._blocks,
            features=datasets.Features(features),
            cache_dir=str(making),
            gen_kwargs={"rows": rows, "fill_targets": fill_targets},
            fingerprint=folder.name,
        )
        made.save_to_disk(str(folder))
        count = len(made)
        del made
        shutil.rmtree(making)
        return count

    def _blocks(self, rows: list[int], fill_targets: bool) -> Iterator[Block]:
        sizes = self.tokenised.of("tokens")[rows].tolist()
        for block, more in best_fit.filled(best_fit.packed(sizes, self.length), sizes, self.length):
            whole = [(rows[i], sizes[i], True) for i in block]
            yield self._block([*whole, *((rows[i], size, fill_targets) for i, size in more)])

    def _block(self, pieces: list[tuple[int, int, bool]]) -> Block:
        """`pieces`: the conversations by row, how many of their tokens, and whether they have targets."""
        columns: list[list[Any]] = [[], [], []]
        for row, size, counted in pieces:
            ids, targets = self.tokenised.read(row)
            columns[0].append(ids[:size])
            columns[1].append(targets[:size] * np.uint8(counted))
            columns[2].append(np.arange(size))
        return {name: np.concatenate(parts).tolist() for name, parts in zip(COLUMNS, columns, strict=True)}

    def _refuse_short(self, training: list[int]) -> None:
        if (tokens := int(self.tokenised.of("tokens")[training].sum())) < self.length:
            raise InputError(
                f"{self.source.where}: its conversations to train on are {tokens:,} tokens, less than one sequence of "
                f"{self.length:,}; add some, change held_out ({self.source.spec.held_out}), or shorten "
                f"training.sequence_length"
            )

    def _facts(
        self, training: list[int], held_out: list[int], copies: Any, known: Any, counts: dict[str, int]
    ) -> CorpusFacts:
        tokens, targets, size = (self.tokenised.of(name) for name in ("tokens", "targets", "bytes"))
        exact, near = known[copies.exact], known[copies.near]
        kept = self.source.spec.near_copies == "keep"
        filled = counts["blocks"] * self.length - int(tokens[training].sum())
        return CorpusFacts(
            fingerprint=self.final.name,
            files=self.source.files,
            documents=len(training),
            tokens=int(tokens[training].sum()),
            bytes=int(size[training].sum()),
            held_out_documents=len(held_out),
            held_out_tokens=int(tokens[held_out].sum()),
            held_out_bytes=int(size[held_out].sum()),
            **counts,
            copies=len(exact),
            copied_tokens=int(tokens[exact].sum()),
            near_copies=None if kept else len(near),
            near_copied_tokens=None if kept else int(tokens[near].sum()),
            bos=False,
            eos=False,
            conversations=ConversationFacts(
                targets=int(targets[training].sum()),
                held_out_targets=int(targets[held_out].sum()),
                held_out_bytes_per_target=self._bytes_per_target(held_out),
                filled_tokens=filled,
                longer=int((self.tokenised.of("all_tokens") > self.length).sum()),
                cut_tokens=int((self.tokenised.of("all_tokens") - tokens).sum()),
            ),
        )

    def _bytes_per_target(self, rows: list[int]) -> float:
        """UTF-8 bytes of what the assistant says for each target, with end-of-turn tokens."""
        return float(self.tokenised.of("target_bytes")[rows].sum() / self.tokenised.of("all_targets")[rows].sum())

    def _tell_filled(self, facts: CorpusFacts) -> None:
        assert facts.conversations
        share = facts.conversations.filled_tokens / (facts.blocks * self.length)
        if share > MUCH_FILLED:
            log.warning(
                "%s: %s of the tokens of its blocks fill gaps with beginnings of conversations that other blocks hold "
                "whole: a longer training.sequence_length has fewer",
                self.source.where,
                percent(share, 1),
            )


def _write_held_out(texts: datasets.Dataset, folder: Path) -> None:
    """The held-out conversations as JSON Lines: their messages, and as `text` what copies are told by."""
    with (folder / held_out_texts.FILE).open("w", encoding="utf-8") as lines:
        for row in texts:
            found = messages.of(row["text"])
            record = {"text": messages.said(found), messages.MESSAGES: found}
            lines.write(json.dumps(record, ensure_ascii=False) + "\n")
