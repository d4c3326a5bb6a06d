"""Training documents that repeat held-out text: copies, near-copies, and those that contain one or are a part of one.

Two documents are near-copies where the Jaccard index of their sets of word 5-grams is at least SIMILAR (Lee et al.,
2021, arXiv 2107.06499). A held-out document of at least LONG grams also counts as repeated where a training document
contains so much of it, and so does a training document of that length that is a part of a held-out one.

The search is exact. If two sets share a part s of the smaller one's or of their own, they share one of that set's
first (1 - s) n + 1 grams in any order (prefix filter: Bayardo et al., WWW 2007). The order is from rare to frequent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import datasets
import numpy as np
from numpy.typing import NDArray

from trainers.data.hold_out import shingles
from trainers.data.hold_out.shingles import Hashes

SIMILAR = 0.8
LONG = 50  # grams
AT_ONCE = 1000  # documents
BUCKETS = 8  # of the filter for each gram of the index: one in so many grams of other text passes it

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Copies:
    """Row numbers of training documents with the very text of a held-out one, and of those that nearly repeat one."""

    exact: list[int]
    near: list[int]


def find(texts: datasets.Dataset, training: Sequence[int], held_out: Iterable[str]) -> Copies:
    """The rows of `training` that repeat one of the `held_out` texts. Memory holds hashes of the grams of these.

    Memory: about 60 bytes for each word of the held-out texts, at most.
    """
    digests: set[bytes] = set()
    batches = _batches(_remembered(held_out, digests))
    index = HeldOutIndex([grams for batch in batches for grams in shingles.grams(batch)])
    copies = Copies([], [])
    for first in range(0, len(training), AT_ONCE):
        rows = training[first : first + AT_ONCE]
        some = texts[rows]["text"]
        for row, text, grams in zip(rows, some, shingles.grams(some), strict=True):
            if _digest(text) in digests:
                copies.exact.append(row)
            elif index.repeats(grams):
                copies.near.append(row)
    return copies


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _remembered(texts: Iterable[str], digests: set[bytes]) -> Iterator[str]:
    for text in texts:
        digests.add(_digest(text))
        yield text


@dataclass(frozen=True)
class _Postings:
    """The held-out documents of each gram: `counts` of them, in `documents` from `starts` on."""

    documents: NDArray[np.int32]
    starts: Rows
    counts: Rows

    @staticmethod
    def of(places: Rows, documents: NDArray[np.int32], grams: int) -> _Postings:
        """From pairs of a gram and a document."""
        counts = np.bincount(places, minlength=grams)
        return _Postings(documents[np.argsort(places, kind="stable")], np.cumsum(counts) - counts, counts)

    def find(self, places: Rows) -> list[int]:
        starts, counts = self.starts[places], self.counts[places]
        at = np.arange(counts.sum()) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
        return np.unique(self.documents[at]).tolist()  # type: ignore[no-any-return]


class HeldOutIndex:
    """The grams of held-out documents, and which documents each is in. `found`: the set of each document, sorted."""

    def __init__(self, found: Sequence[Hashes]) -> None:
        self.sizes = np.array([len(grams) for grams in found], np.int64)
        self.starts = np.append(0, np.cumsum(self.sizes))
        self.grams = np.concatenate([*found, np.empty(0, np.uint64)])  # document by document
        self.known, places, self.counts = np.unique(self.grams, return_inverse=True, return_counts=True)
        documents = np.repeat(np.arange(len(found), dtype=np.int32), self.sizes)
        first = self._first(places, documents)
        self.having = _Postings.of(places, documents, len(self.known))
        self.having_first = _Postings.of(places[first], documents[first], len(self.known))
        bits = max(1, (len(self.known) * BUCKETS).bit_length())
        self.shift, self.filter = np.uint64(64 - bits), np.zeros(1 << bits, bool)
        self.filter[self.known >> self.shift] = True

    def _first(self, places: Rows, documents: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether a gram is among the first of its document, of which a repeat has at least one."""
        order = np.lexsort((places, self.counts[places], documents))
        rank = np.arange(len(places)) - np.repeat(self.starts[:-1], self.sizes)
        first = np.empty(len(places), bool)
        first[order] = rank < np.repeat(_prefix(self.sizes), self.sizes)
        return first

    def repeats(self, grams: Hashes) -> bool:
        """Whether a document with these grams repeats a held-out one."""
        known = self._known(grams)
        return bool(len(known)) and any(self._repeats(grams, row) for row in self._candidates(known, len(grams)))

    def _known(self, grams: Hashes) -> Rows:
        """The places in the index of those grams that it has."""
        grams = grams[self.filter[grams >> self.shift]]
        places = np.searchsorted(self.known, grams)
        return places[self.known[np.minimum(places, len(self.known) - 1)] == grams] if len(grams) else places

    def _candidates(self, known: Rows, size: int) -> Iterator[int]:
        """The held-out documents that share one of their own first grams; and, where enough of a long document is known
        for it to be a part of one, those that have one of its first grams.
        """
        yield from self.having_first.find(known)
        if size >= LONG and len(known) >= SIMILAR * size:
            rarest = known[np.argsort(self.counts[known], kind="stable")]
            unknown = size - len(known)  # they come before the rarest
            yield from self.having.find(rarest[: int(_prefix(np.array(size))) - unknown])

    def _repeats(self, grams: Hashes, row: int) -> bool:
        held_out = self.grams[self.starts[row] : self.starts[row + 1]]
        shared = len(np.intersect1d(grams, held_out, assume_unique=True))
        similar = shared >= SIMILAR * (len(grams) + len(held_out) - shared)
        contains = len(held_out) >= LONG and shared >= SIMILAR * len(held_out)
        part = len(grams) >= LONG and shared >= SIMILAR * len(grams)
        return similar or contains or part


def _prefix(sizes: Rows) -> Rows:
    """How many grams of a set of each size come before its last SIMILAR x size ones, and one more."""
    return np.where(sizes > 0, sizes - np.ceil(SIMILAR * sizes - 1e-9).astype(np.int64) + 1, 0)


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
