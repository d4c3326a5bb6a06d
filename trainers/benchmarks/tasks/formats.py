"""Readers of the published files of our own tasks. The harness passes the fields `metadata` and `dataset_kwargs`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import datasets

LEAST_RELEVANCE = 3  # LCSTS is tested on the pairs that its annotators scored 3, 4 or 5
Rows = Iterator[dict[str, Any]]


def _read(owner: str, rows_of: Callable[[str], Rows], data_files: list[str], **other: Any) -> Any:
    rows: list[dict[str, Any]] = []
    for file in data_files:
        try:
            found = list(rows_of(Path(file).read_text(encoding="utf-8-sig")))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{file}: not in {owner} published format ({type(error).__name__}: {error})") from None
        if not found:
            raise ValueError(f"{file}: has no question in {owner} published format")
        rows += found
    return datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)})


def _squad(text: str) -> Rows:
    """DRCD and CMRC 2018, both in the format of SQuAD: {"data": [{"paragraphs": [{"context", "qas": [...]}]}]}."""
    for article in json.loads(text)["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                answers = [answer["text"] for answer in question["answers"]]
                yield {"context": paragraph["context"], "question": question["question"], "answers": answers}


def _c3(text: str) -> Rows:
    """A list of [[sentences], [{"question", "choice", "answer"}], id]."""
    for sentences, questions, _ in json.loads(text):
        for question in questions:
            choices = question["choice"]
            gold = choices.index(question["answer"])
            yield {"context": "\n".join(sentences), "question": question["question"], "choices": choices, "gold": gold}


def _lcsts(text: str) -> Rows:
    """<doc id=0> with <human_label>, <summary> and <short_text>."""
    for pair in re.findall(r"<doc id=.*?>(.*?)</doc>", text, re.DOTALL):
        if int(_field(pair, "human_label", "5")) >= LEAST_RELEVANCE:
            yield {"text": _field(pair, "short_text"), "summary": _field(pair, "summary")}


def _field(pair: str, name: str, otherwise: str | None = None) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", pair, re.DOTALL)
    if found is None and otherwise is None:
        raise ValueError(f"a pair without {name}")
    return found.group(1).strip() if found else str(otherwise)


squad, c3, lcsts = partial(_read, "SQuAD's", _squad), partial(_read, "C3's", _c3), partial(_read, "LCSTS's", _lcsts)
