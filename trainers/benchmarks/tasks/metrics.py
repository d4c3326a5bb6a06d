"""Metrics of our Chinese tasks, by characters, since Chinese writes no spaces. Each is 0 to 1 per question."""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import Any


def character_f1(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """F1 over common characters, and exact match; each the best over the accepted answers."""
    answer, accepted = _plain(results[0]), [_plain(text) for text in doc["answers"]]
    return {"f1": max(_f1(answer, a) for a in accepted), "exact_match": max(float(answer == a) for a in accepted)}


def character_rouge_l(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """ROUGE-L (Lin 2004): F1 of the longest common subsequence of characters."""
    answer, summary = _plain(results[0]), _plain(doc["summary"])
    return {"rouge_l": _harmonic(_common_subsequence(answer, summary), len(answer), len(summary))}


def _f1(answer: str, accepted: str) -> float:
    return _harmonic(sum((Counter(answer) & Counter(accepted)).values()), len(answer), len(accepted))


def _harmonic(common: int, one: int, other: int) -> float:
    return 2 * common / (one + other) if one + other else 0.0


def _common_subsequence(one: str, other: str) -> int:
    row = [0] * (len(other) + 1)
    for character in one:
        above, row = row, [0]
        for i, there in enumerate(other):
            row.append(above[i] + 1 if character == there else max(above[i + 1], row[i]))
    return row[-1]


def _plain(text: str) -> str:
    """The text in lower case, without spaces, punctuation and symbols."""
    return "".join(c for c in text.lower() if unicodedata.category(c)[0] not in "ZPSC")
