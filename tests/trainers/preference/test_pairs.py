from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest

from sweep.study import InputError
from sweep.study.sections.text.corpora import Corpus
from trainers.data import documents
from trainers.data.readers.place import Place
from trainers.preference.pairs import PAIRS, Pair, text_of

PLACE = Place("corpora.original", "pairs.jsonl")
USER = {"role": "user", "content": "Who comes?"}
GOOD, BAD = {"role": "assistant", "content": "The king."}, {"role": "assistant", "content": "Nobody."}
SENT = {"from": "human", "value": "Who comes?"}  # as LLaMA-Factory has it
EXPECTED = Pair([USER], [GOOD], [BAD])


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Who comes?", "chosen": "The king.", "rejected": "Nobody."},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD], "source": None},
        {"prompt": [{"role": "system", "content": ""}, USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "Who comes?", "chosen": [GOOD], "rejected": "Nobody."},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "Who comes?", "chosen": [USER, GOOD], "rejected": [USER, BAD], "score": 3},
        {"conversations": [SENT], "chosen": {"from": "gpt", "value": "The king."}, "rejected": BAD, "tools": None},
    ],
)
def test_each_form_of_a_pair_is_the_same_pair(record: dict[str, Any]) -> None:
    assert Pair.read(text_of(PLACE, record, 1).decode()) == EXPECTED


def test_a_conversation_before_the_answers_is_the_prompt() -> None:
    before = [{"role": "system", "content": "Be brief."}, USER, GOOD, {"role": "user", "content": "And then?"}]
    pair = Pair.read(text_of(PLACE, {"chosen": [*before, BAD], "rejected": [*before, GOOD]}, 1).decode())
    assert (pair.prompt, pair.chosen, pair.rejected) == (before, [BAD], [GOOD])
    sent = {"system": "Be brief.", "conversations": [SENT], "chosen": GOOD, "rejected": BAD}
    assert Pair.read(text_of(PLACE, sent, 1).decode()).prompt == before[:2]
    assert pair.prompt_text.split("\n\n") == ["Who comes?", "The king.", "And then?"]  # many share a system message


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Who?", "chosen": "The king.", "rejected": "The king."},
        {"prompt": "Who?", "chosen": "The king.", "rejected": "  "},
        {"prompt": " ", "chosen": "The king.", "rejected": "Nobody."},
        {"prompt": "Who?", "chosen": None, "rejected": "Nobody."},
    ],
)
def test_a_pair_that_teaches_nothing_is_left_out(record: dict[str, Any]) -> None:
    assert text_of(PLACE, record, 1) == b""


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (["a"], "is a list, not an object with chosen and rejected"),
        ({"prompt": "a", "chosen": "b"}, "there is no 'rejected'; the fields are prompt, chosen; a pair has prompt,"),
        ({"chosen": "b", "rejected": "c"}, "there is no 'prompt', and the answers begin without one: give prompt, or"),
        ({"prompt": 3, "chosen": "b", "rejected": "c"}, "'prompt' is a number (3), not text"),
        (
            {"prompt": "a", "chosen": [{"role": "bot", "content": "b"}], "rejected": "c"},
            "chosen, message 1: role: unknown role 'bot': write system, user, assistant",
        ),
        (
            {"prompt": "a", "chosen": [{"sender": "gpt", "text": "b"}], "rejected": "c"},
            "is not an object with role and content",
        ),
        (
            {"conversations": [SENT, {"from": "observation", "value": "b"}], "chosen": "b", "rejected": "c"},
            "conversations, message 2: from: calls of tools are not read: remove the record",
        ),
        ({"conversations": [SENT], "chosen": "b", "rejected": "c", "tools": [{}]}, "tools: descriptions of tools are"),
        (
            {"chosen": [USER, GOOD], "rejected": [{"role": "user", "content": "What?"}, BAD]},
            "chosen and rejected do not begin with the same messages",
        ),
        (
            {"prompt": [USER, GOOD], "chosen": [GOOD], "rejected": [BAD]},
            "the prompt ends with assistant, not with user",
        ),
        (
            {"prompt": [USER], "chosen": [GOOD, USER, BAD], "rejected": [BAD]},
            "chosen is assistant, user, assistant after the prompt, not one turn of the assistant",
        ),
        (
            {"prompt": "Another?", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
            "prompt is not what chosen and rejected begin with",
        ),
    ],
)
def test_what_is_no_pair_is_refused_with_one_line(record: Any, expected: str) -> None:
    with pytest.raises(InputError) as raised:
        text_of(PLACE, record, 7)
    message = str(raised.value)
    assert message.startswith("corpora.original: pairs.jsonl, line 7: ")
    assert expected in message
    assert "\n" not in message


def test_a_pair_is_written_and_read_back() -> None:
    pair = Pair([{"role": "user", "content": "谁来了？\n\u2028"}], [GOOD], [BAD])
    assert Pair.read(pair.text) == pair
    assert json.loads(pair.text)["prompt"][0]["content"].startswith("谁来了")


def test_pairs_are_read_alike_from_parquet_json_and_a_data_set(tmp_path: Path, cache: Path) -> None:
    rows = [{"prompt": [USER], "chosen": [GOOD], "rejected": [BAD], "score": n} for n in range(4)]
    (tmp_path / "set").mkdir()
    for path in (tmp_path / "pairs.parquet", tmp_path / "set" / "train.parquet"):
        datasets.Dataset.from_list(rows).to_parquet(str(path))
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    data_set = {"dataset": str(tmp_path / "set")}
    for given in ({"files": str(tmp_path / "pairs.parquet")}, {"files": str(tmp_path / "pairs.json")}, data_set):
        found = documents.resolve(Corpus.model_validate(given), "corpora.original")
        texts = list(documents.read(replace(found, read_as=PAIRS))["text"])
        assert [Pair.read(text) for text in texts] == [EXPECTED] * 4
    sample = documents.resolve(Corpus.model_validate(data_set | {"documents": 3}), "corpora.original")
    assert len(documents.read(replace(sample, read_as=PAIRS))) == 3
