"""Preference pairs that can be learnt, in files, and a study that trains on them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from samples import study_content

from sweep.study import Study

WORDS = {
    "original": (("king", "queen", "lord", "sword", "crown", "night", "love", "blood"), "yes, my lord", "no, never"),
    "additional": (("玄德", "曹操", "关公", "张飞", "军师", "人马", "城池", "将军"), "遵命", "不可"),
}
SEQUENCE, PAIRS_A_STEP = 128, 4


def pairs(language: str, number: int = 40) -> list[dict[str, str]]:
    """Pairs in which one answer is always preferred: `number` of them, of different lengths."""
    words, chosen, rejected = WORDS[language]
    draw = random.Random(language)
    prompts = [" ".join(draw.choices(words, k=draw.randint(4, 9))) for _ in range(number)]
    return [{"prompt": p, "chosen": f"{chosen} {n}", "rejected": f"{rejected} {n}"} for n, p in enumerate(prompts)]


def written(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def dpo_content(folder: Path, model: Path, steps: int = 6, **training: Any) -> dict[str, Any]:
    """A study of stage dpo, whose files this writes into `folder`."""
    corpora = {
        language: {"files": str(written(folder / f"{language}.jsonl", pairs(language))), "held_out": 0.2}
        for language in WORDS
    }
    batch = 2 * PAIRS_A_STEP * SEQUENCE
    recipe = {
        "stage": "dpo",
        "sequence_length": SEQUENCE,
        "tokens": steps * batch,
        "global_batch_tokens": batch,
        "evaluation_tokens": 16 * SEQUENCE,
        "log_every": 1,
    }
    return study_content(
        base_model={"pretrained": str(model)},
        corpora=corpora,
        documents={"chat_template": "chatml"},
        training=recipe | training,
        tracking={"tensorboard": False},
    )


def dpo_study(folder: Path, model: Path, steps: int = 6, **training: Any) -> Study:
    return Study.model_validate(dpo_content(folder, model, steps, **training))
