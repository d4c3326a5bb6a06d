"""What a tokenizer's chat template says: the ids of a prompt, and the token that ends a turn."""

from __future__ import annotations

from typing import Any

Messages = list[dict[str, Any]]
MARK = "answer"


def prompt_ids(tokenizer: Any, messages: Messages, tools: Any = None) -> list[int]:
    """The ids of a conversation with the head of the answer that is asked for."""
    rendered = tokenizer.apply_chat_template(
        messages, tools=tools, add_generation_prompt=True, tokenize=True, return_dict=True
    )
    return list(rendered["input_ids"])


def end_of_turn(tokenizer: Any) -> int | None:
    """The special token that follows an assistant's turn; None where the template has none, or there is no template."""
    if not tokenizer.chat_template:
        return None
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": MARK}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    after = tokenizer(text.rpartition(MARK)[2].lstrip(), add_special_tokens=False)["input_ids"]
    added = tokenizer.added_tokens_decoder.items()
    special = {*tokenizer.all_special_ids, *(number for number, token in added if token.special)}
    return after[0] if after and after[0] in special else None


def end_ids(tokenizer: Any, generation: Any) -> list[int]:
    """All ids at which an answer ends: of the model's generation settings, of its tokenizer, of its template."""
    stated = generation.eos_token_id
    ids = [*stated] if isinstance(stated, list | tuple) else [stated]
    found = dict.fromkeys([*ids, tokenizer.eos_token_id, end_of_turn(tokenizer)])
    return [one for one in found if one is not None]
