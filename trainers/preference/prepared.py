"""Corpora of pairs: tokenised under the model's chat template, split into training and held-out, cached by content.

A prepared corpus has the files of a packed one, so that whatever counts and lists corpora reads it: `facts.json`,
`training/`, `held_out/`, and the held-out prompts. A pair counts as two blocks, its two rows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from sweep.study import CorpusFacts, Ingredients, InputError
from sweep.study.files import cache
from sweep.study.files.atomic import sha256
from sweep.study.numbers import percent
from sweep.study.study import fingerprint_of
from trainers.data import documents
from trainers.data.conversations import template_date
from trainers.data.conversations.rendering import FIELD, ChatRenderer, UnsuitedError
from trainers.data.corpus import PART_SEED
from trainers.data.documents import DocumentSource
from trainers.data.hold_out import choice, held_out_texts
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.preference.order import Drawn
from trainers.preference.pairs import PAIRS, Pair
from trainers.preference.rendering import PairTokens, tokens_of

log = logging.getLogger(__name__)
VERSION = 2  # part of every cache key: raise it when the same pairs would give other rows
ROWS_OF_A_PAIR = 2
IDS = ("prompt_ids", "chosen_ids", "rejected_ids")
FILES = {"training": "training.jsonl", "held_out": "held_out_pairs.jsonl"}  # the pairs of each part, as messages
FEATURES = datasets.Features({name: datasets.Sequence(datasets.Value("int32")) for name in IDS})
IMITATES = "have the string of a special token of the tokenizer in a message, which would be read as that token,"
EVERY = 500  # pairs between reports of progress


@dataclass(frozen=True)
class PairCorpus:
    """An opened corpus. Both parts are memory-mapped tables of token ids (columns IDS)."""

    facts: CorpusFacts
    training: datasets.Dataset
    held_out: datasets.Dataset

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The tokens of both rows of each training pair."""
        return sizes(self.training)


def sizes(rows: datasets.Dataset) -> NDArray[np.int64]:
    lengths = [np.asarray([len(ids) for ids in rows[name]], np.int64) for name in IDS]
    return np.asarray(2 * lengths[0] + lengths[1] + lengths[2])


def opened(ingredients: Ingredients) -> dict[str, PairCorpus]:
    """The corpora of a run, by source, as its trials read them."""
    return {name: _part(open_pairs(Path(at)), ingredients.corpora[name]) for name, at in ingredients.folders.items()}


def open_pairs(folder: Path) -> PairCorpus:
    """The corpus that `prepare` left in this folder."""
    facts = CorpusFacts.model_validate_json((folder / "facts.json").read_text())
    return PairCorpus(facts, *(datasets.load_from_disk(str(folder / part)) for part in FILES))


def in_order(drawn: Sequence[Drawn], corpora: Mapping[str, PairCorpus]) -> datasets.Dataset:
    """The training pairs that were drawn, in their order: a view of the corpora, not a copy."""
    starts = dict(zip(corpora, [0, *accumulate(len(one.training) for one in corpora.values())], strict=False))
    together = datasets.concatenate_datasets([one.training for one in corpora.values()])
    return together.select([starts[one.slot.source] + one.slot.block for one in drawn])


def _part(corpus: PairCorpus, facts: CorpusFacts) -> PairCorpus:
    """The corpus with the pairs that trials draw from: a fixed random part, where the study limits them."""
    most = facts.trial_blocks and max(1, facts.trial_blocks // ROWS_OF_A_PAIR)
    if not most or most >= len(corpus.training):
        return corpus
    drawn = np.sort(np.random.default_rng(PART_SEED).permutation(len(corpus.training))[:most])
    return replace(corpus, training=corpus.training.select(drawn))


def prepare(
    source: DocumentSource,
    tokenizer: TextTokenizer,
    sequence_length: int,
    progress: Callable[[float], None] = lambda share: None,
    others: Sequence[Path] = (),
) -> Path:
    """Tokenise and split a corpus of pairs, or find it in the cache; returns its folder.

    `tokenizer`: with its chat template. `progress` receives the share of the pairs that is tokenised. `others`: files
    with held-out prompts of other corpora, which are not trained on either. Raises InputError for what is no pair, and
    where none is left to train on or to hold out.
    """
    final = packed_folder(source, tokenizer, sequence_length)
    if others:
        final = final.with_name(fingerprint_of([final.name, *(sha256(path) for path in others)]))
    asked = replace(source, read_as=PAIRS)
    making = _Making(asked, tokenizer.tokenizer, sequence_length, progress, others, final)
    return cache.build_once(final, making.build)


def packed_folder(source: DocumentSource, tokenizer: TextTokenizer, sequence_length: int) -> Path:
    """The folder in the cache for a corpus of pairs by itself; it may not exist yet."""
    spec = source.spec
    text = documents.texts_folder(replace(source, read_as=PAIRS)).name
    key: dict[str, Any] = {"pairs": VERSION, "text": text, **tokenizer.key}
    key |= {"template": ChatRenderer(tokenizer.tokenizer).key, "sequence_length": sequence_length}
    key |= {"held_out": spec.held_out, "near_copies": spec.near_copies}
    key |= {"held_out_of": source.held_out_of.name} if source.held_out_of else {}
    return cache.root() / "corpora" / fingerprint_of(key)


@dataclass(frozen=True)
class _Making:
    source: DocumentSource
    tokenizer: Any
    length: int
    progress: Callable[[float], None]
    others: Sequence[Path]
    final: Path

    def build(self, folder: Path) -> None:
        """Fill a folder, which is later renamed to `final`."""
        spec, where = self.source.spec, self.source.where
        texts = documents.read(self.source)
        datasets.disable_progress_bars()  # `progress` has what the user sees
        pairs, tokens = self._tokenised(texts["text"])
        prompts = datasets.Dataset.from_dict({"text": [pair.prompt_text for pair in pairs]})
        counts = np.asarray([one.tokens for one in tokens], np.int64)
        chosen = choice.choose(prompts, counts, spec, where, self.others, self.source.held_out_of)
        for part, rows in (("training", chosen.training), ("held_out", chosen.held_out)):
            table = {name: [getattr(tokens[row], name) for row in rows] for name in IDS}
            datasets.Dataset.from_dict(table, FEATURES).save_to_disk(str(folder / part))
            _write((pairs[row] for row in rows), folder / FILES[part])
        held_out_texts.write(held_out_texts.Rows(prompts, chosen.held_out), folder)
        facts = self._facts(chosen, counts, np.asarray([_bytes(pair) for pair in pairs], np.int64))
        (folder / "facts.json").write_text(facts.model_dump_json(indent=2))

    def _tokenised(self, texts: Sequence[str]) -> tuple[list[Pair], list[PairTokens]]:
        """The pairs that fit, and their tokens. None is cut: of a pair that is, the answers might be gone."""
        pairs, tokens, renderer, imitating = [], [], ChatRenderer(self.tokenizer), 0
        if renderer.dated:
            log.warning("%s: %s", self.source.where, template_date.SAID)
        for number, text in enumerate(texts, 1):
            pair = Pair.read(text)
            if renderer.imitates([*pair.prompt, *pair.chosen, *pair.rejected]):
                imitating += 1
            elif (ids := self._ids(pair, number)).longest <= self.length:
                pairs.append(pair)
                tokens.append(ids)
            if number % EVERY == 0 or number == len(texts):
                self.progress(number / len(texts))
        self._tell(imitating, len(texts), IMITATES, "write it otherwise, or remove them")
        fix = "raise training.sequence_length, or shorten them"
        longer = f"are longer than training.sequence_length {self.length}"
        self._tell(len(texts) - len(pairs) - imitating, len(texts), longer, fix)
        if not pairs:
            raise InputError(f"{self.source.where}: no pair is left: mend what the warnings above say, or add others")
        return pairs, tokens

    def _ids(self, pair: Pair, number: int) -> PairTokens:
        try:
            return tokens_of(self.tokenizer, pair)
        except UnsuitedError as error:
            raise InputError(f"{self.source.where}: pair {number:,}: {FIELD}: {error}") from None

    def _tell(self, count: int, total: int, what: str, fix: str) -> None:
        where = self.source.where
        if count == total:
            raise InputError(f"{where}: its {total:,} pairs all {what}: {fix}")
        if count:
            share = percent(count / total)
            log.warning("%s: %d of %d pairs (%s) %s and are left out: %s", where, count, total, share, what, fix)

    def _facts(self, chosen: choice.Choice, tokens: NDArray[np.int64], size: NDArray[np.int64]) -> CorpusFacts:
        copies, kept = chosen.copies, self.source.spec.near_copies == "keep"
        return CorpusFacts(
            fingerprint=self.final.name,
            files=(str(self.final / FILES["training"]),),
            documents=len(chosen.training),
            tokens=int(tokens[chosen.training].sum()),
            bytes=int(size[chosen.training].sum()),
            blocks=ROWS_OF_A_PAIR * len(chosen.training),
            held_out_documents=len(chosen.held_out),
            held_out_tokens=int(tokens[chosen.held_out].sum()),
            held_out_bytes=int(size[chosen.held_out].sum()),
            held_out_blocks=ROWS_OF_A_PAIR * len(chosen.held_out),
            copies=len(copies.exact),
            copied_tokens=int(tokens[copies.exact].sum()),
            near_copies=None if kept else len(copies.near),
            near_copied_tokens=None if kept else int(tokens[copies.near].sum()),
            bos=False,
            eos=False,
        )


def _bytes(pair: Pair) -> int:
    """The bytes of what is said in both rows of a pair, in UTF-8, without the template around it."""
    rows = [*pair.prompt, *pair.prompt, *pair.chosen, *pair.rejected]
    return sum(len(message["content"].encode()) for message in rows)


def _write(pairs: Iterable[Pair], path: Path) -> None:
    with path.open("w", encoding="utf-8") as lines:
        lines.writelines(f"{json.dumps(asdict(pair), ensure_ascii=False)}\n" for pair in pairs)
