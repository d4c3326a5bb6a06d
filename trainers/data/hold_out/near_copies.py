"""Training documents that repeat held-out text: copies, near-copies, and those that contain one or are a part of one.

Two documents are near-copies where the Jaccard index of their sets of word 5-grams is at least SIMILAR (Lee et al.,
2021, arXiv 2107.06499). A held-out document of at least LONG grams also counts as repeated where a training document
contains so much of it, and so does a training document of that length that is a part of a held-out one. What a large
part of the training documents contains is boilerplate, such as the header of a license, and repeats no document.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainers.data.hold_out import shingles
from trainers.data.hold_out.postings import Postings, Rows
from trainers.data.hold_out.shingles import Hashes

if TYPE_CHECKING:  # it takes a second to import
    import datasets

SIMILAR = 0.8
LONG = 50  # grams
SAMPLED = np.uint64(4)  # one in so many grams leads from a part to the whole
FEWEST = 0.5  # of a document's sampled grams are known where it is a part of a held-out one
COMMON, FEWEST_COMMON = 0.1, 5  # share and number of training documents that contain a held-out one: boilerplate
RAREST, MOST = 8, 100  # sampled grams that are looked up, and documents that are compared
AT_ONCE = 1000  # documents
COUNTERS = 22  # bits: grams share 4 million counters, which only order them


@dataclass(frozen=True)
class Copies:
    """Row numbers of training documents with the very text of a held-out one, and of those that nearly repeat one."""

    exact: list[int]
    near: list[int]


def find(
    texts: datasets.Dataset, training: Sequence[int], held_out: Sequence[str], exact_alone: bool = False
) -> Copies:
    """The rows of `training` that repeat one of the `held_out` texts, which are read as often as they are needed.
    `exact_alone`: near-copies are not looked for.

    Memory: for each word of the held-out texts about half of a hash and of a row number, and one document at a time.
    """
    detector = RepeatDetector(held_out, near_copies=not exact_alone)
    copies = Copies([], [])
    containing: dict[int, list[int]] = {}
    for first in range(0, len(training), AT_ONCE):
        rows = training[first : first + AT_ONCE]
        for row, found in zip(rows, detector.compared(texts[rows]["text"]), strict=True):
            if found is None:
                copies.exact.append(row)
            elif found.alike:
                copies.near.append(row)
            elif found.contained:
                containing[row] = found.contained
    common = _boilerplate(containing.values(), len(training))
    near = [row for row, contained in containing.items() if not common.issuperset(contained)]
    return Copies(copies.exact, sorted([*copies.near, *near]))


def _boilerplate(contained: Collection[list[int]], documents: int) -> set[int]:
    """The held-out documents that a large part of all documents contain. `contained`: those in each document."""
    counts = Counter(row for rows in contained for row in rows)
    return {row for row, count in counts.items() if count >= max(FEWEST_COMMON, COMMON * documents)}


class RepeatDetector:
    """Tells whether documents repeat one of the `held_out` texts. `near_copies`: whether any are ever looked for."""

    def __init__(self, held_out: Sequence[str], near_copies: bool = True) -> None:
        self.near_copies = near_copies
        self.digests = {digest(text) for text in held_out}
        self.index = HeldOutIndex(_Grams(held_out if near_copies else []))

    def compared(self, texts: Sequence[str]) -> Iterator[Overlap | None]:
        """What each document repeats; None for the very text of a held-out one."""
        every = shingles.grams(texts) if self.near_copies else [None] * len(texts)
        for text, grams in zip(texts, every, strict=True):
            if digest(text) in self.digests:
                yield None
            else:
                yield NOTHING if grams is None else self.index.repeated(grams)


def digest(text: str) -> bytes:
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


class Overlap(NamedTuple):
    """What a document repeats: whether it is a near-copy or a part of a held-out document, else those it contains."""

    alike: bool
    contained: list[int]


NOTHING = Overlap(False, [])


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

    def repeated(self, grams: Hashes) -> Overlap:
        """What a document with these grams repeats."""
        contained = []
        for row in self._candidates(grams):
            held_out = self.grams[row]
            shared = len(np.intersect1d(grams, held_out, assume_unique=True))
            if _alike(shared, grams, held_out):
                return Overlap(True, [])
            if len(held_out) >= LONG and shared >= SIMILAR * len(held_out):
                contained.append(row)
        return Overlap(False, contained)

    def _candidates(self, grams: Hashes) -> Iterator[int]:
        yield from self.rarest.documents(*self.rarest.find(grams)).tolist()
        if len(grams) < LONG:
            return
        sample = grams[grams % SAMPLED == 0]
        first, counts = self.sampled.find(sample)
        if len(first) and len(first) >= FEWEST * len(sample):
            rare = np.argsort(counts, kind="stable")[:RAREST]
            yield from self.sampled.documents(first[rare], counts[rare])[:MOST].tolist()


def _alike(shared: int, grams: Hashes, held_out: Hashes) -> bool:
    """Whether a document is a near-copy or a part of a held-out one. `shared`: the grams that both have."""
    similar = shared >= SIMILAR * (len(grams) + len(held_out) - shared)
    return similar or (len(grams) >= LONG and shared >= SIMILAR * len(grams))


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
