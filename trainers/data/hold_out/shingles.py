"""The 5-grams of words of documents, as 64-bit hashes: what near-copies are told by.

A word is a run of letters and digits; in scripts that put no space between words (Chinese, Japanese, Thai, ...) it is
one character. Upper case, punctuation, white space, invisible characters and the Unicode form make no difference.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

WORDS = 5  # of a gram, as in Lee et al., arXiv 2107.06499
Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]
SPACE, LETTER, CHARACTER = 0, 1, 2
CODE_POINTS = 0x110000
# Ranges of code points: Thai, Lao, Tibetan, Burmese, Khmer, kana, Bopomofo, and Han with its extensions.
UNSPACED = (
    *((0xE00, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3040, 0x312F), (0x31A0, 0x31FF)),
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF)),
)
SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"  # of variants of characters: invisible, as format characters are
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2**64


def grams(texts: Sequence[str]) -> list[Hashes]:
    """The distinct grams of each document, sorted. One with fewer words has a single one, of all its words; one without
    words has none.
    """
    normalised = list(map(_normalised, texts))
    letters = np.frombuffer("".join(normalised).encode("utf-32-le"), np.uint32)
    words, ends = _words(letters, np.cumsum([len(text) for text in normalised], dtype=np.int64))
    return _distinct(*_grams(words, ends))


def _normalised(text: str) -> str:
    visible = text if text.isascii() else _invisible().sub("", text)
    return unicodedata.normalize("NFKC", visible).casefold()


def _grams(words: Hashes, ends: Places) -> tuple[Hashes, Places]:
    """The hash of every WORDS words that follow one another in a document, and the number up to each document's end."""
    starts = np.append(0, ends[:-1])
    counts = np.where(ends > starts, np.maximum(ends - starts - WORDS + 1, 1), 0)
    until = np.cumsum(counts)
    at = np.arange(counts.sum()) + np.repeat(starts - (until - counts), counts)
    last = np.repeat(ends, counts)
    mixed = np.zeros(len(at), np.uint64)
    for offset in range(WORDS):
        there = at + offset < last
        mixed = _scrambled(mixed + np.where(there, words[np.where(there, at + offset, 0)], np.uint64(offset)))
    return mixed, until


def _distinct(values: Hashes, ends: Places) -> list[Hashes]:
    parts = np.split(values, ends[:-1]) if len(ends) else []
    for part in parts:
        part.sort()
    return [part[np.append(True, part[1:] != part[:-1])] if len(part) else part for part in parts]


def _words(letters: NDArray[np.uint32], ends: Places) -> tuple[Hashes, Places]:
    """The hash of each word of documents that stand one after another, and the number of words up to each one's end."""
    kinds, codes = _tables()
    kind = kinds[letters]
    first = np.ones(len(kind), bool)  # of a document or of another kind of characters
    first[1:] = kind[1:] != kind[:-1]
    first[ends[ends < len(kind)]] = True
    starts = np.flatnonzero((first | (kind == CHARACTER)) & (kind != SPACE))
    border = np.append(np.flatnonzero(first | (kind == CHARACTER)), len(kind))
    stops = border[np.searchsorted(border, starts, side="right")]
    powers, inverses = _powers(len(kind))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(codes[letters] * powers[: len(kind)], dtype=np.uint64)])
    hashes = (sums[stops] - sums[starts]) * inverses[starts]
    return _scrambled(hashes), np.searchsorted(starts, ends)


def _scrambled(values: Hashes) -> Hashes:
    """A bijection of 64-bit numbers whose every bit depends on all bits (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@cache
def _categories() -> list[str]:
    return [unicodedata.category(chr(code)) for code in range(CODE_POINTS)]


@cache
def _invisible() -> re.Pattern[str]:
    formats = "".join(chr(code) for code, category in enumerate(_categories()) if category == "Cf")
    return re.compile(f"[{re.escape(formats)}{SELECTORS}]")


@cache
def _tables() -> tuple[NDArray[np.int8], Hashes]:
    """By code point: the kind of character, and a random number."""
    kinds = np.array([LETTER if category[0] in "LNM" else SPACE for category in _categories()], np.int8)
    for low, high in UNSPACED:
        kinds[low : high + 1] *= CHARACTER
    return kinds, np.random.default_rng(0).integers(1, 2**63, CODE_POINTS, np.uint64)


_POWERS: list[tuple[Hashes, Hashes]] = []


def _powers(count: int) -> tuple[Hashes, Hashes]:
    """The first `count` powers of MULTIPLIER and of its inverse, modulo 2**64; computed once, and again for more."""
    if not _POWERS or len(_POWERS[0][0]) < count:
        inverse = np.uint64(pow(int(MULTIPLIER), -1, 2**64))
        steps = np.ones(max(count, 2**20), np.uint64)
        pair = []
        for factor in (MULTIPLIER, inverse):
            steps[1:] = factor
            pair.append(np.cumprod(steps, dtype=np.uint64))
        _POWERS[:] = [(pair[0], pair[1])]
    return _POWERS[0]
