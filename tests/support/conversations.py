"""Small files of conversations in both languages, and a study of stage `sft` on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from samples import study_content

Conversation = list[dict[str, str]]


def turns(*contents: str) -> Conversation:
    """Alternating turns of user and assistant."""
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]


def english(i: int) -> Conversation:
    more = ("and the dog?", f"it sleeps for {i * i} hours") if i % 3 == 0 else ()
    return turns(f"where does fox {i} jump, number {i * 7919}?", f"over the lazy dog {i * 31}", *more)


def chinese(i: int) -> Conversation:
    return turns(f"话说{i * 7919}天下大势{i}？", f"分久必合{i * 31}，合久必分")


def write(path: Path, conversations: list[Conversation]) -> Path:
    lines = (json.dumps({"messages": one, "id": i}, ensure_ascii=False) for i, one in enumerate(conversations))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def sft_content(folder: Path, model: Path, count: int = 40, **training: Any) -> dict[str, Any]:
    """A study whose files this writes into `folder`."""
    corpora = {}
    for language, make in (("original", english), ("additional", chinese)):
        file = write(folder / f"{language}.jsonl", [make(i) for i in range(count)])
        corpora[language] = {"files": str(file), "held_out": 0.2}
    content = study_content(base_model={"pretrained": str(model)}, corpora=corpora)
    recipe = {"stage": "sft", "sequence_length": 128, "tokens": 2048, "global_batch_tokens": 512}
    content["training"] = recipe | {"evaluation_tokens": 2048, "document_masking": True} | training
    return content | {"documents": {"chat_template": "chatml"}}
