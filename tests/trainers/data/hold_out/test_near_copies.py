"""Near-copies of held-out text are found, whatever was changed, and other text is left alone."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.data.hold_out import near_copies, shingles
from trainers.data.hold_out.near_copies import LONG, SIMILAR, HeldOutIndex

CHARACTERS = [chr(code) for code in range(0x4E00, 0x4E00 + 800)]
WORDS = [f"{a}{b}{c}" for a in ("ka", "lo", "mi", "ster") for b in ("ne", "ra", "tu", "vel", "x") for c in range(40)]


def english(seed: int, words: int = 300) -> str:
    chance = random.Random(seed)
    chosen = chance.choices(WORDS, k=words)
    return " ".join(f"{word}." if chance.random() < 0.1 else word for word in chosen)


def chinese(seed: int, characters: int = 300) -> str:
    chance = random.Random(seed)
    return "".join(chance.choice(CHARACTERS) + ("，" if chance.random() < 0.1 else "") for _ in range(characters))


def mixed(seed: int, size: int = 300) -> str:
    return f"{english(seed, size // 2)}。{chinese(seed, size // 2)}"


def repeats(held_out: str, text: str) -> bool:
    return any(HeldOutIndex(shingles.grams([held_out])).repeated(shingles.grams([text])[0]))


def swapped(text: str) -> str:
    """Every hundredth word or character is another one."""
    parts = text.split(" ") if " " in text else list(text)
    return (" " if " " in text else "").join("Zz" if i % 100 == 50 else part for i, part in enumerate(parts))


CHANGES: dict[str, Callable[[str], str]] = {
    "other white space": lambda text: "  " + text.replace(" ", "\n\t "),
    "ideographic white space": lambda text: text.replace(" ", "\u3000"),
    "upper case": str.upper,
    "other punctuation": lambda text: text.replace(".", " ;").replace("，", "、").replace("。", "!"),
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isalnum() else c for c in text),
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "invisible characters": lambda text: "\ufeff" + text.replace("a", "a\u00ad").replace(" ", "\u200b "),
    "swapped words": swapped,
    "boilerplate around": lambda text: f"Home | About us | Login. {text} All rights reserved. Share this page!",
    "ends cut": lambda text: text[len(text) // 20 : -len(text) // 20],
    "within a longer document": lambda text: f"{english(998)} {text} {english(999)} {chinese(999)}",
    "half of it": lambda text: text[: len(text) // 2],
    "a running number": lambda text: f"17. {text} 17",
}


@pytest.mark.parametrize("write", [english, chinese, mixed])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(write: Callable[[int], str], change: str) -> None:
    for seed in range(5):
        held_out = write(seed)
        changed = CHANGES[change](held_out)
        assert repeats(held_out, changed)
        assert not repeats(write(seed + 100), changed)


def test_a_quotation_is_not_enough() -> None:
    quoted = " ".join(english(1).split()[:60])
    assert not repeats(english(1), f"{quoted} {english(2)}")


def test_documents_that_share_a_sentence_are_not_copies() -> None:
    for sentence in ("The king rode out at dawn and the river was high. ", "话说天下大势，分久必合，合久必分。"):
        texts = [f"Doc {i} {i * 7919 % 1000}. " + sentence * (3 + i % 4) for i in range(100)]
        index = HeldOutIndex(shingles.grams(texts[:20]))
        assert not any(any(index.repeated(grams)) for grams in shingles.grams(texts[20:]))


def test_documents_of_few_words_are_copies_only_where_all_words_are_the_same() -> None:
    index = HeldOutIndex(shingles.grams(["Number one.", "", "...", "天下"]))
    found = [
        any(index.repeated(grams))
        for grams in shingles.grams(["number ONE", "number two", "one", "", "!!!", "天 下", "天"])
    ]
    assert found == [True, False, False, False, False, True, False]


def test_copies_and_near_copies_are_counted_apart() -> None:
    texts = datasets.Dataset.from_dict({"text": [english(1), english(1), english(1).upper(), english(2), "???", "???"]})
    found = near_copies.find(texts, [1, 2, 3, 5], [texts[0]["text"], texts[4]["text"]])
    assert (found.exact, found.near) == ([1, 5], [2])


def test_nothing_repeats_an_empty_hold_out() -> None:
    texts = datasets.Dataset.from_dict({"text": [english(1), ""]})
    assert near_copies.find(texts, [0, 1], []) == near_copies.Copies([], [])
    assert near_copies.find(texts, [], [english(1)]) == near_copies.Copies([], [])


def slow_grams(text: str) -> set[tuple[str, ...]]:
    """The grams without any hash or array: Han one by one, the rest by runs of letters and digits."""
    words: list[str] = []
    run = ""
    visible = "".join(c for c in text if unicodedata.category(c) != "Cf")
    for c in unicodedata.normalize("NFKC", visible).casefold() + " ":
        letter, single = unicodedata.category(c)[0] in "LNM", "\u4e00" <= c <= "\u9fff"
        if letter and not single:
            run += c
            continue
        words, run = [*words, *([run] if run else []), *([c] if single else [])], ""
    size = min(5, len(words))
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)} if words else set()


ALPHABET = st.sampled_from("ab é1\u00ad\u0301.，天下Ǆ \n")


@given(st.lists(st.text(ALPHABET, max_size=40), max_size=8))
def test_grams_are_those_of_a_plain_reading(texts: list[str]) -> None:
    plain = [slow_grams(text) for text in texts]
    assert [len(grams) for grams in shingles.grams(texts)] == [len(grams) for grams in plain]
    names: dict[tuple[str, ...], int] = {}
    for text, expected in zip(texts, plain, strict=True):
        for gram in expected:
            [hashed] = shingles.grams(["".join(f"{word} " for word in gram)])[0].tolist()
            assert names.setdefault(gram, hashed) == hashed
            assert hashed in shingles.grams([text])[0]
    assert len(set(names.values())) == len(names)


@settings(max_examples=60)
@given(st.integers(0, 10**6))
def test_the_search_finds_what_a_comparison_with_every_document_finds(seed: int) -> None:
    chance = np.random.default_rng(seed)

    def some() -> np.ndarray:
        """A window of a few common sequences with some noise: many pairs are near the limits."""
        first, size = chance.integers(0, 60), chance.integers(1, 130)
        common = np.arange(first, first + size) + 1000 * chance.integers(0, 2)
        noise = chance.random(size) < chance.choice([0, 0.1, 0.2, 0.3])
        return np.unique(np.where(noise, chance.integers(10**6, 2 * 10**6, size), common).astype(np.uint64))

    held_out, others = [some() for _ in range(12)], [some() for _ in range(12)]
    index = HeldOutIndex(held_out)
    for grams in others:
        near, part = False, False
        for kept in held_out:
            shared = len({*grams.tolist()} & {*kept.tolist()})
            near |= shared >= SIMILAR * (len(grams) + len(kept) - shared)
            near |= len(kept) >= LONG and shared >= SIMILAR * len(kept)
            part |= len(grams) >= LONG and shared >= SIMILAR * len(grams)
        assert any(index.repeated(grams)) in {near, near or part}  # of the parts a few may be missed


def test_what_many_documents_contain_is_boilerplate_and_repeats_none() -> None:
    """A file of a license's header alone, held out, does not take all other files with that header."""
    header = english(1, 80)
    files = [f"{header} {english(seed, 200)}" for seed in range(100, 140)]
    texts = datasets.Dataset.from_dict({"text": [*files, f"{header} Yes.", header]})
    found = near_copies.find(texts, range(42), [header, files[0]])
    assert (found.exact, found.near) == ([0, 41], [40])


def test_what_few_documents_contain_is_held_out_text() -> None:
    files = [f"{english(1, 80)} {english(seed, 200)}" for seed in range(4)]
    texts = datasets.Dataset.from_dict({"text": files + [english(seed) for seed in range(100, 140)]})
    assert near_copies.find(texts, range(44), [english(1, 80)]).near == [0, 1, 2, 3]


def test_near_copies_are_not_looked_for_where_they_are_kept() -> None:
    texts = datasets.Dataset.from_dict({"text": [english(1), english(1).upper()]})
    found = near_copies.find(texts, [0, 1], [english(1)], exact_alone=True)
    assert (found.exact, found.near) == ([0], [])
