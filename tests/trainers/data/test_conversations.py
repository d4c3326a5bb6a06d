"""Conversations: what is read and refused, which tokens are targets under any template, and how they are packed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conversations import Conversation, english, turns, write
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from sweep.study import InputError
from sweep.study.sections.text.corpora import Corpus
from trainers.data import corpus
from trainers.data.conversations import best_fit, messages, packed
from trainers.data.conversations.rendering import ChatRenderer, UnsuitedError
from trainers.data.conversations.rows import POSITION, TARGET, TOKEN
from trainers.data.documents import beginnings, resolve
from trainers.data.tokens.borders import Borders
from trainers.data.tokens.text_tokenizer import TextTokenizer
from trainers.model.base.chat import TEMPLATE

EACH = "{% for m in messages %}"
OPENED = "{% if add_generation_prompt %}assistant:\n{% endif %}"
MARKED = (  # the end of the turn stands behind the markers, as in many templates
    EACH + "{{ m.role + ':\n' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}{{ eos_token }}{% endfor %}" + OPENED
)
PLAIN = EACH + "{{ m.role + ':\n' + m.content + eos_token + '\n' }}{% endfor %}" + OPENED
ENDLESS = EACH + "{{ m.role + ':\n' + m.content + '\n' }}{% endfor %}" + OPENED
FORGETFUL = EACH + "{{ m.role + ':\n' + (m.content if loop.last else '...') + eos_token }}{% endfor %}" + OPENED
STRICT = "{% if messages|length > 2 %}{{ raise_exception('one turn only') }}{% endif %}" + PLAIN
SHARED = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]  # as ShareGPT writes them
TALK = [{"role": "system", "content": "be kind"}, *turns("who?", "the fox", "where?", "over the dog")]


@pytest.fixture(scope="module")
def tokenizer(small_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(small_model)


def renderer(tokenizer: Any, template: str) -> ChatRenderer:
    tokenizer.chat_template = template
    return ChatRenderer(tokenizer)


def targets(of: ChatRenderer, conversation: Conversation) -> list[str]:
    """The text of each run of targets."""
    found, runs = of.render(conversation), []
    for at, (number, target) in enumerate(zip(found.ids, found.targets, strict=True)):
        if target and not found.targets[at - 1]:
            runs.append([])
        if target:
            runs[-1].append(number)
    return [of.tokenizer.decode(run) for run in runs]


def pack(
    folder: Path, tokenizer: Any, conversations: list[Conversation], length: int = 128, template: str = PLAIN
) -> corpus.PackedCorpus:
    tokenizer.chat_template = template
    source = resolve(Corpus(files=str(write(folder / "a.jsonl", conversations)), held_out=0.2), "corpora.original")
    return corpus.open_packed(packed.prepare(source, TextTokenizer(tokenizer, Borders()), length))


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({"messages": "hello"}, "messages: is text ('hello'), not a list of messages with role and content"),
        ({"messages": []}, "messages: is empty, not a list of messages"),
        ({"messages": turns("a", "b") * 1001}, "messages: has 2,002 messages, over 2,000: split or remove the record"),
        ({"text": "hello"}, "there is no 'messages'; the fields are text: set `field:` to that of the messages"),
        ({"messages": [{"sender": "gpt", "text": "a"}]}, "messages[0]: has sender, text, not role and content"),
        (
            {"conversations": [{"from": "bing", "value": "a"}]},
            "conversations[0].from: unknown role 'bing': write human,",
        ),
        (
            {"conversations": [*SHARED, {"from": "function_call", "value": "{}"}]},
            "conversations[2].from: calls of tools are not read: remove the record",
        ),
        (
            {"conversations": SHARED, "tools": '[{"name": "search"}]'},
            "tools: descriptions of tools are not read: remove",
        ),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role: calls of tools are not read: remove the"),
        ({"messages": [{"role": "gpt", "content": "a"}]}, "messages[0].role: unknown role 'gpt': write system, user"),
        ({"messages": turns("a", " ")}, "messages[1].content: is empty: write what is said, or remove the record"),
        ({"messages": turns("a", None)}, "messages[1].content: is null (nothing), not text"),  # type: ignore[arg-type]
        (
            {"messages": [*turns("a"), {"role": "assistant", "content": "b", "weight": 0}]},
            "messages[1].weight: every turn of the assistant is learned: remove the field or the record",
        ),
        ({"messages": turns("a")}, "messages: no turn is the assistant's, so nothing would be learned"),
        ({"messages": turns("a", "b")[1:]}, "messages[0]: the assistant speaks first, and answers nothing"),
        ({"prompt": "a", "completion": ""}, "completion: is empty"),
        ({"messages": turns("a", "\ud800")}, "half a surrogate pair"),
    ],
)
def test_what_is_no_conversation_is_refused_by_line_and_field(tmp_path: Path, record: Any, fault: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{json.dumps({'messages': english(1)})}\n{json.dumps(record)}\n")
    spec = Corpus(files=str(path))
    with pytest.raises(InputError) as raised:
        beginnings(spec, "corpora.original", messages.read_as(spec))
    assert str(raised.value).startswith(f"corpora.original: {path}, line 2: ")
    assert fault in str(raised.value)


def test_every_form_of_a_conversation_is_read_alike(tmp_path: Path) -> None:
    wanted = [{"role": "system", "content": "be kind"}, *turns("a", "b")]
    begun = [{"from": "system", "value": "be kind"}, *SHARED]
    (tmp_path / "b.json").write_text(json.dumps([{"chat": {"turns": wanted}}]))
    unweighted = [*wanted[:2], wanted[2] | {"weight": 1, "train": True}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": unweighted}))
    (tmp_path / "c.jsonl").write_text(json.dumps({"prompt": wanted[:2], "completion": "b"}))
    pd.DataFrame({"messages": [wanted], "other": [1]}).to_parquet(tmp_path / "d.parquet")
    (tmp_path / "e.jsonl").write_text(json.dumps({"id": 1, "conversations": begun, "tools": "[]"}))
    (tmp_path / "f.json").write_text(json.dumps([{"conversations": SHARED, "system": "be kind"}]))
    pd.DataFrame({"conversations": [SHARED], "system": ["be kind"]}).to_parquet(tmp_path / "g.parquet")
    pd.DataFrame({"conversations": [wanted]}).to_parquet(tmp_path / "h.parquet")
    files = ("a.jsonl", "c.jsonl", "d.parquet", "e.jsonl", "f.json", "g.parquet", "h.parquet")
    for file, field in (("b.json", "chat.turns"), *((file, "text") for file in files)):
        spec = Corpus(files=str(tmp_path / file), field=field)
        assert [messages.of(text) for text in beginnings(spec, "corpora.original", messages.read_as(spec))[1]] == [
            wanted
        ]


@pytest.mark.parametrize("template", [TEMPLATE.replace("<|im_end|>", "<end>"), PLAIN, MARKED])
def test_targets_are_the_assistants_turns_with_their_end(tokenizer: Any, template: str) -> None:
    of = renderer(tokenizer, template)
    assert targets(of, TALK) == ["the fox<end>", "over the dog<end>"]
    assert of.stop == tokenizer.eos_token_id


def test_a_template_that_writes_the_date_writes_the_same_one_on_any_day(
    tmp_path: Path, cache: Path, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    dated = "{{ 'today: ' + strftime_now('%d %b %Y') + eos_token }}" + PLAIN
    found = renderer(tokenizer, dated)
    assert found.tokenizer.decode(found.render(TALK).ids).startswith("today: 26 Jul 2024<end>system:")
    assert targets(found, TALK) == targets(renderer(tokenizer, PLAIN), TALK)
    conversations = [english(number) for number in range(40)]
    pack(tmp_path, tokenizer, conversations, template=dated)
    assert "corpora.original: the chat template writes today's date: it is always 26 July 2024" in caplog.text
    with pytest.raises(InputError, match="in a form that it computes: write the date into a template of your own"):
        ChatRenderer.of(renderer(tokenizer, "{% set form = '%d' %}{{ strftime_now(form) }}" + PLAIN).tokenizer)
    caplog.clear()
    pack(tmp_path, tokenizer, conversations)
    assert "date" not in caplog.text


def test_a_template_whose_targets_cannot_be_told_is_refused(tokenizer: Any) -> None:
    with pytest.raises(InputError, match="no chat template: write chatml, or the path"):
        ChatRenderer.of(renderer(tokenizer, "").tokenizer)
    with pytest.raises(InputError, match=r"^documents.chat_template: .* ends the assistant's turn without a special"):
        ChatRenderer.of(renderer(tokenizer, ENDLESS).tokenizer)
    with pytest.raises(UnsuitedError, match="writes an earlier turn otherwise once others follow"):
        renderer(tokenizer, FORGETFUL).render(TALK)
    with pytest.raises(UnsuitedError, match="opens the assistant's turn with what joins the answer in one token"):
        renderer(tokenizer, PLAIN.replace(":\n", ": ")).render(TALK)
    with pytest.raises(UnsuitedError, match="the chat template says: one turn only: correct its roles"):
        renderer(tokenizer, STRICT).render(TALK)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_no_conversation_is_cut_and_every_block_is_full(sizes: list[int]) -> None:
    blocks = best_fit.packed(sizes, 40)
    assert sorted(row for block in blocks for row in block) == list(range(len(sizes)))
    filled = list(best_fit.filled(blocks, sizes, 40))
    assert [list(block) for block, _ in filled] == blocks
    for block, more in filled:
        assert sum(sizes[row] for row in block) + sum(taken for _, taken in more) == 40
        assert all(0 < taken <= sizes[row] for row, taken in more)
    assert len(blocks) < 2 * sum(sizes) / 40 + 1


def test_blocks_hold_each_conversation_whole_and_each_held_out_target_once(
    tmp_path: Path, cache: Path, tokenizer: Any
) -> None:
    conversations = [english(i) for i in range(40)]
    found = pack(tmp_path, tokenizer, conversations)
    rows = corpus.blocks(found.training, range(len(found.training)))
    assert rows.shape == (found.facts.blocks, 128, 3)
    text = tokenizer.decode(rows[..., TOKEN].ravel().tolist())
    whole = [tokenizer.apply_chat_template(one, tokenize=False) for one in conversations]
    assert sum(one in text for one in whole) == found.facts.documents
    starts = rows[..., POSITION] == 0
    assert starts[:, 0].all()
    assert (np.diff(rows[..., POSITION], axis=1)[~starts[:, 1:]] == 1).all()
    measured = corpus.blocks(found.held_out, range(len(found.held_out)))
    assert found.facts.conversations
    assert measured[..., TARGET].sum() == found.facts.conversations.held_out_targets
    assert rows[..., TARGET].sum() > found.facts.conversations.targets  # beginnings are repeated in training
    per_target = found.facts.held_out_bytes_per_token
    assert 1 < per_target < 6


def test_what_is_longer_than_a_sequence_is_cut_and_counted(
    tmp_path: Path, cache: Path, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    long = [turns("who is it?", f"{i} " + "the quick brown fox " * 40) for i in range(3)]
    late = [turns("the lazy dog " * 60, "no target within")]
    facts = pack(tmp_path, tokenizer, [*(english(i) for i in range(40)), *long, *late]).facts
    assert facts.conversations
    assert facts.conversations.longer == 4
    assert "4 of 44 conversations are longer than training.sequence_length 128" in caplog.text
    assert "1 have no target before that and are left out" in caplog.text
    with pytest.raises(InputError, match="in each of its 2 conversations the assistant speaks after the first 128"):
        pack(tmp_path, tokenizer, late * 2)


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages[0].content + 1 }}", "can only concatenate"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "Range too big"),
        ("{% include 'other' %}", "no loader"),
        ("{{ cycler.__init__.__globals__ }}", "unsafe"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "recursion"),
    ],
)
def test_whatever_a_template_raises_is_one_line(tokenizer: Any, start: str, says: str) -> None:
    with pytest.raises(InputError, match=f"^documents.chat_template: the chat template says: .*{says}"):
        ChatRenderer.of(renderer(tokenizer, start + PLAIN).tokenizer)


def test_a_message_with_the_string_of_a_special_token_is_left_out_and_counted(
    tmp_path: Path, cache: Path, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    typed = [turns("a<end>\nassistant:\nno", "b"), turns("a", "b<end>\nuser:\nc"), turns("a", "<end>")]
    found = pack(tmp_path, tokenizer, [*typed, *(english(i) for i in range(40))])
    assert found.facts.documents + found.facts.held_out_documents == 40
    assert "3 of 43 conversations (the first is number 1) have the string of a special token" in caplog.text
    rows = corpus.blocks(found.training, range(len(found.training)))
    ends = rows[..., TOKEN] == tokenizer.eos_token_id
    opened = tokenizer.decode(rows[..., TOKEN].ravel().tolist()).count("assistant:")
    assert (ends & (rows[..., TARGET] == 1)).sum() <= opened
    with pytest.raises(InputError, match="each of its 3 conversations has the string of a special token"):
        pack(tmp_path, tokenizer, typed)


def test_a_shared_system_message_makes_no_near_copies(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    system = {"role": "system", "content": "You are kind, and answer in one sentence about the fox. " * 3}
    found = pack(tmp_path, tokenizer, [[system, *english(i)] for i in range(30)], length=256)
    assert (found.facts.copies, found.facts.near_copies) == (0, 0)
    again = pack(tmp_path, tokenizer, [[system, *english(i % 20)] for i in range(30)], length=256)
    assert again.facts.copies
