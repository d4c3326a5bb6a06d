"""Questions that are made from the books: true by the books, in one language, each about text of its own."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from sweep.study.files.atomic import sha256
from trainers.data.hold_out.split import split
from trainers.data.origins import embedded

HAN = re.compile(r"[\u4e00-\u9fff]")
LATIN = re.compile(r"[A-Za-z]")
QUOTED = re.compile(r"“([^”]+)”|\"([^\"]+)\"")
BOOKS = {"shakespeare": LATIN, "three-kingdoms": HAN}


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in embedded.fetch(name).read_text(encoding="utf-8").splitlines()]


def quoted(text: str) -> str:
    """The longest quotation in a message, without the dots that ask for its end."""
    found = ["".join(groups).removesuffix(" ...").removesuffix("……") for groups in QUOTED.findall(text)]
    return max(found, key=len, default="")


@pytest.mark.parametrize("name", embedded.MADE)
def test_what_is_made_has_the_pinned_content(name: str) -> None:
    assert sha256(embedded.fetch(name)) == embedded.MADE[name].content


@pytest.mark.parametrize(("book", "letters"), BOOKS.items())
def test_question_and_answer_are_in_one_language(book: str, letters: re.Pattern[str]) -> None:
    other = HAN if letters is LATIN else LATIN
    for row in rows(f"{book}-questions"):
        for message in row["messages"]:
            assert letters.search(message["content"]), row
            assert not other.search(message["content"]), row


@pytest.mark.parametrize("book", BOOKS)
def test_every_quotation_is_in_the_book_and_not_in_what_is_held_out(book: str) -> None:
    texts = [row["text"] for row in rows(book)]
    held_out = {*split(np.array([len(text.encode()) for text in texts]), 0.05, book).held_out}
    seen = "\n".join(text for row, text in enumerate(texts) if row not in held_out)
    for row in rows(f"{book}-questions"):
        for message in row["messages"]:
            assert quoted(message["content"]) in seen, message


@pytest.mark.parametrize("book", BOOKS)
def test_no_passage_is_asked_about_twice(book: str) -> None:
    asked = [quoted(row["messages"][0]["content"]) for row in rows(f"{book}-questions")]
    asked += [quoted(row["prompt"][0]["content"]) for row in rows(f"{book}-preferences")]
    named = [text for text in asked if text]
    assert len({*named}) == len(named) > 700


def test_a_speaker_says_the_line_in_the_play() -> None:
    plays = {text.split("\n")[0][2:]: text for text in (row["text"] for row in rows("shakespeare"))}
    blocks = [block for play in plays.values() for block in re.split(r"\n\s*\n", play)]
    speakers = {line.strip(): block.split("\n")[0] for block in blocks for line in block.split("\n")}
    for row in rows("shakespeare-questions"):
        question, answer = (message["content"] for message in row["messages"][:2])
        if row["kind"] in ("speaker", "either"):
            assert speakers[quoted(question)].strip("* ") == answer.removesuffix(" says it.").upper()
        if row["kind"] == "play":
            assert quoted(question) in plays[answer.removeprefix("It is from ").removesuffix(".")]


def test_a_chapter_has_what_is_said_of_it() -> None:
    chapters = {text.split(" ")[0]: text for text in (row["text"] for row in rows("three-kingdoms"))}
    for row in rows("three-kingdoms-questions"):
        question, answer = (message["content"] for message in row["messages"][:2])
        if row["kind"] == "chapter":
            assert quoted(question) in chapters[answer.removeprefix("出自").removesuffix("。")]
        if row["kind"] == "title":
            number = re.search(r"第[^“”，]+?回", question)
            assert number
            assert quoted(answer) in chapters[number[0]].split("\n")[0]
        if row["kind"] == "present":
            number, name = answer.removesuffix("。").split("里有")
            assert name in chapters[number]
            assert name in question


@pytest.mark.parametrize("book", BOOKS)
def test_rejected_answers_are_wrong_in_three_ways(book: str) -> None:
    found = rows(f"{book}-preferences")
    assert {row["fault"] for row in found} == {"another answer", "another language", "cut short"}
    for row in found:
        chosen, rejected = row["chosen"][0]["content"], row["rejected"][0]["content"]
        assert chosen != rejected
        assert row["prompt"][-1]["role"] == "user"
        if row["fault"] == "another language":
            assert not BOOKS[book].search(rejected.replace("\u3000", ""))
        if row["fault"] == "cut short":
            assert chosen.startswith(rejected)
