"""An inverted index: from the hash of a gram to the documents that have it."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from trainers.data.hold_out.shingles import Hashes

Rows = NDArray[np.int64]
BUCKETS = 4  # of the filter for each pair: one in so many grams of other text passes it


class Postings:
    """Pairs of a gram and a document, to which pairs are added."""

    def __init__(self) -> None:
        self.grams, self.rows = array("Q"), array("i")

    def add(self, grams: Hashes, row: int) -> None:
        self.grams.frombytes(grams.tobytes())
        self.rows.frombytes(np.full(len(grams), row, np.int32).tobytes())

    def sorted(self) -> SortedPostings:
        grams, rows = np.frombuffer(self.grams, np.uint64), np.frombuffer(self.rows, np.int32)
        order = np.argsort(grams, kind="stable")
        return SortedPostings(grams[order], rows[order])


class SortedPostings:
    """Pairs in the order of their grams."""

    def __init__(self, grams: Hashes, rows: NDArray[np.int32]) -> None:
        self.grams, self.rows = grams, rows
        bits = max(1, (len(grams) * BUCKETS).bit_length())
        self.shift, self.filter = np.uint64(64 - bits), np.zeros(1 << bits, bool)
        self.filter[grams >> self.shift] = True

    def find(self, grams: Hashes) -> tuple[Rows, Rows]:
        """For those of the grams that are there: the place of the first pair, and the number of pairs."""
        grams = grams[self.filter[grams >> self.shift]]
        first = np.searchsorted(self.grams, grams)
        counts = np.searchsorted(self.grams, grams, side="right") - first
        return first[counts > 0], counts[counts > 0]

    def documents(self, first: Rows, counts: Rows) -> Rows:
        """The documents of these pairs, each once, those with the most pairs first."""
        at = np.arange(counts.sum()) + np.repeat(first - (np.cumsum(counts) - counts), counts)
        found, shared = np.unique(self.rows[at], return_counts=True)
        return found[np.argsort(-shared, kind="stable")].astype(np.int64)
