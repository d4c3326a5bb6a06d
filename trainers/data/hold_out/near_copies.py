"""Training documents that repeat held-out text: copies, near-copies, and those that contain one or are a part of one.

Two documents are near-copies where the Jaccard index of their sets of word 5-grams is at least SIMILAR (Lee et al.,
2021, arXiv 2107.06499). A held-out document of at least LONG grams also counts as repeated where a training document
contains so much of it, and so does a training document of that length that is a part of a held-out one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from trainers.data.hold_out import shingles
from trainers.data.hold_out.postings import Postings, Rows
from trainers.data.hold_out.shingles import Hashes

if TYPE_CHECKING:  # a launch bundle has a copy of this module, which needs numpy alone
    import datasets

SIMILAR = 0.8
LONG = 50  # grams
SAMPLED = np.uint64(4)  # one in so many grams leads from a part to the whole
FEWEST = 0.5  # of a document's sampled grams are known where it is a part of a held-out one
RAREST, MOST = 8, 100  # sampled grams that are looked up, and documents that are compared
AT_ONCE = 1000  # documents
COUNTERS = 22  # bits: grams share 4 million counters, which only order them


@dataclass(frozen=True)
class Copies:
    """Row numbers of training documents with the very text of a held-out one, and of those that nearly repeat one."""

    exact: list[int]
    near: list[int]


def find(texts: datasets.Dataset, training: Sequence[int], held_out: Sequence[str]) -> Copies:
    """The rows of `training` that repeat one of the `held_out` texts, which are read as often as they are needed.

    Memory: for each word of the held-out texts about half of a hash and of a row number, and one document at a time.
    """
    detector = RepeatDetector(held_out)
    copies = Copies([], [])
    for first in range(0, len(training), AT_ONCE):
        rows = training[first : first + AT_ONCE]
        for row, kind in zip(rows, detector.kinds(texts[rows]["text"]), strict=True):
            if kind:
                getattr(copies, kind).append(row)
    return copies


class RepeatDetector:
    """Tells whether documents repeat one of the `held_out` texts, which are read as often as they are needed."""

    def __init__(self, held_out: Sequence[str]) -> None:
        self.digests = {_digest(text) for text in held_out}
        self.index = HeldOutIndex(_Grams(held_out))

    def kinds(self, texts: Sequence[str]) -> Iterator[Literal["exact", "near"] | None]:
        """Of each document: whether it is the very text of a held-out one, nearly repeats one, or neither."""
        for text, grams in zip(texts, shingles.grams(texts), strict=True):
            yield "exact" if _digest(text) in self.digests else "near" if self.index.repeats(grams) else None


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class _Grams(Sequence[Hashes]):
    """The grams of texts, computed whenever they are asked for."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.of_one = lru_cache(maxsize=1000)(lambda row: shingles.grams([texts[row]])[0])

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, row: int) -> Hashes:  # type: ignore[override]
        return self.of_one(row)

    def __iter__(self) -> Iterator[Hashes]:
        batch: list[str] = []
        for text in self.texts:
            batch.append(text)
            if len(batch) == AT_ONCE:
                yield from shingles.grams(batch)
                batch = []
        yield from shingles.grams(batch)


class HeldOutIndex:
    """Leads from the grams of a document to the held-out documents that it may repeat. `grams`: those of each of them.

    If a document has a part s of n grams, it has one of any (1 - s) n + 1 of them (the prefix filter: Bayardo et al.,
    WWW 2007). So near-copies, and documents that contain a held-out one, are found by its rarest grams, all of them. A
    part of a held-out document is found by a sample of its own grams.
    """

    def __init__(self, grams: Sequence[Hashes]) -> None:
        self.grams = grams
        rarest, sampled = Postings(), Postings()
        counts = _counts(grams)
        for row, found in enumerate(grams):
            order = np.argsort(counts[_counter(found)], kind="stable")
            rarest.add(found[order[: len(found) - _least(len(found)) + 1]], row)
            sampled.add(found[found % SAMPLED == 0], row)
        self.rarest, self.sampled = rarest.sorted(), sampled.sorted()

    def repeats(self, grams: Hashes) -> bool:
        """Whether a document with these grams repeats a held-out one."""
        return any(_repeats(grams, self.grams[row]) for row in self._candidates(grams))

    def _candidates(self, grams: Hashes) -> Iterator[int]:
        yield from self.rarest.documents(*self.rarest.find(grams)).tolist()
        if len(grams) < LONG:
            return
        sample = grams[grams % SAMPLED == 0]
        first, counts = self.sampled.find(sample)
        if len(first) and len(first) >= FEWEST * len(sample):
            rare = np.argsort(counts, kind="stable")[:RAREST]
            yield from self.sampled.documents(first[rare], counts[rare])[:MOST].tolist()


def _repeats(grams: Hashes, held_out: Hashes) -> bool:
    shared = len(np.intersect1d(grams, held_out, assume_unique=True))
    similar = shared >= SIMILAR * (len(grams) + len(held_out) - shared)
    contains = len(held_out) >= LONG and shared >= SIMILAR * len(held_out)
    part = len(grams) >= LONG and shared >= SIMILAR * len(grams)
    return similar or contains or part


def _least(size: int) -> int:
    """The fewest grams of a set that are SIMILAR of it; of an empty one, one more than it has."""
    return int(np.ceil(SIMILAR * size - 1e-9)) if size else 1


def _counter(grams: Hashes) -> Rows:
    return (grams >> np.uint64(64 - COUNTERS)).astype(np.int64)


def _counts(grams: Sequence[Hashes]) -> NDArray[np.int32]:
    """The number of documents with each gram, and with those that share its counter."""
    counts = np.zeros(1 << COUNTERS, np.int32)
    for found in grams:
        counts[_counter(found)] += 1
    return counts
