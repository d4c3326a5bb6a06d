"""A model is asked about held-out conversations, whatever letters stand in them."""

from __future__ import annotations

import json
from pathlib import Path

import chat_model

from trainers.data.hold_out import held_out_texts
from trainers.trials.held_out_questions import ask


def test_texts_with_other_ends_of_lines_are_read_whole(tmp_path: Path) -> None:
    """JSON leaves U+2028, U+2029 and U+0085 as they are, as text of the web has them."""
    model = chat_model.write(tmp_path / "model", steps=1)
    asked, answer = "one\u2028two\u2029three", "four\u0085five"
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    record = json.dumps({"text": f"{asked}\n\n{answer}", "messages": turns}, ensure_ascii=False)
    (tmp_path / held_out_texts.FILE).write_text(f"{record}\n{record}\n", encoding="utf-8")
    found = ask(model, {"original": tmp_path})["original"]
    assert found.asked == 2
    assert {(one.question, one.true) for one in found.examples} == {(asked, answer)}


def test_an_answer_does_not_depend_on_a_long_question_beside_it(tmp_path: Path) -> None:
    """All that are asked at once get as many tokens: a prompt that nearly fills the model would cut the others off."""
    model, question = chat_model.write(tmp_path / "model", steps=120), next(iter(chat_model.ANSWERS))
    long = "x" * chat_model.LENGTH

    def record(asked: str, answer: str) -> str:
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        return json.dumps({"text": asked, "messages": turns}, ensure_ascii=False) + "\n"

    known = record(question, chat_model.ANSWERS[question])
    (tmp_path / held_out_texts.FILE).write_text(known + record(long, "y") + known, encoding="utf-8")
    found = ask(model, {"original": tmp_path})["original"]
    assert (found.asked, found.right) == (3, 2)
    assert [one.question for one in found.examples] == [question, long, question]
