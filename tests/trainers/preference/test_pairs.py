from __future__ import annotations

import json
from typing import Any

import pytest

from sweep.study import InputError
from trainers.data.readers.place import Place
from trainers.preference.pairs import Pair, text_of

PLACE = Place("corpora.original", "pairs.jsonl")
USER = {"role": "user", "content": "Who comes?"}
GOOD, BAD = {"role": "assistant", "content": "The king."}, {"role": "assistant", "content": "Nobody."}
EXPECTED = Pair([USER], [GOOD], [BAD])


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Who comes?", "chosen": "The king.", "rejected": "Nobody."},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD], "source": None},
        {"prompt": "Who comes?", "chosen": [GOOD], "rejected": "Nobody."},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "Who comes?", "chosen": [USER, GOOD], "rejected": [USER, BAD], "score": 3},
    ],
)
def test_each_form_of_a_pair_is_the_same_pair(record: dict[str, Any]) -> None:
    assert Pair.read(text_of(PLACE, record, 1).decode()) == EXPECTED


def test_a_conversation_before_the_answers_is_the_prompt() -> None:
    before = [{"role": "system", "content": "Be brief."}, USER, GOOD, {"role": "user", "content": "And then?"}]
    pair = Pair.read(text_of(PLACE, {"chosen": [*before, BAD], "rejected": [*before, GOOD]}, 1).decode())
    assert (pair.prompt, pair.chosen, pair.rejected) == (before, [BAD], [GOOD])
    assert pair.prompt_text.split("\n\n") == ["Be brief.", "Who comes?", "The king.", "And then?"]


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
            "chosen, message 1: the role is 'bot': write one of system, user, assistant",
        ),
        (
            {"prompt": "a", "chosen": [{"from": "gpt", "value": "b"}], "rejected": "c"},
            "is not an object with role and content",
        ),
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
