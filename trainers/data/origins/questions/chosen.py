"""Choices that depend on text alone: the same on every machine and under every version of Python."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def number(*text: str) -> int:
    """A number that looks random: a hash of the text."""
    return int.from_bytes(hashlib.sha256("\n".join(text).encode()).digest()[:8], "big")


def one(options: Sequence[T], *text: str) -> T:
    return options[number(*text) % len(options)]


def shuffled(items: Iterable[str], *text: str) -> list[str]:
    """Distinct strings in an order of their own."""
    return list(_shuffled(frozenset(items), text))


@functools.lru_cache(maxsize=16)
def _shuffled(items: frozenset[str], text: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(items, key=lambda item: (number(item, *text), item)))
