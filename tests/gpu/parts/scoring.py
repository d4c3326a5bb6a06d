"""lm-evaluation-harness on 200 local questions, as a trial is scored: before and after its training."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.gpu import bases
from tests.gpu.setting import Setting, fresh

TASK = "next_verse"
QUESTIONS, CHOICES, CONTEXT, CONTINUATION = 200, 4, 32, 8  # lengths in characters
ON_CPU = 16  # questions, where a CPU has to score SmolLM2-135M


def measure(setting: Setting, write: Callable[..., None]) -> None:
    folder, questions = _task(setting), setting.of(QUESTIONS, ON_CPU if setting.kit else QUESTIONS)
    content = setting.content("scored", steps=setting.of(20, 2), sequences=setting.of(16, 2))
    benchmarks = {"tasks": [TASK], "include": str(folder), "limit": questions, "batch": setting.of(50, 8)}
    record, _ = setting.trained(content | {"benchmarks": benchmarks})
    if TASK not in record.scores:
        write(f"{questions} questions", failed=f"not scored: {record.score_failures}"[:300])
        return
    score, seconds = record.scores[TASK], record.provenance["scoring_seconds"]
    values = {
        "questions": score.n,
        "accuracy after training": score.value,
        "standard error": score.stderr,
        "by chance": 1 / CHOICES,
        "seconds": seconds,
        "questions/s": (score.n or 0) / seconds,
    }
    write("one of four continuations", values, None if score.n == questions else "not every question was asked")


def _task(setting: Setting) -> Path:
    """A task file, and the questions that it reads."""
    folder = fresh(setting.work / "task")
    lines = [json.dumps(question, ensure_ascii=False) for question in _questions(setting)]
    (folder / "test.jsonl").write_text("\n".join(lines), encoding="utf-8")
    config: dict[str, Any] = {
        "task": TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "test.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{context}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}],
        "metadata": {"version": 1},
    }
    (folder / f"{TASK}.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


def _questions(setting: Setting) -> Iterator[dict[str, Any]]:
    """Which of four continuations is this text's own? The others are from other places."""
    draw = random.Random(0)
    texts = ["".join(text.split()) for text in _documents(setting)]
    texts = [text for text in texts if len(text) > 2 * (CONTEXT + CONTINUATION)]
    for _ in range(QUESTIONS):
        text, answer = draw.choice(texts), draw.randrange(CHOICES)
        at = draw.randrange(len(text) - CONTEXT - CONTINUATION)
        choices = [_piece(draw, texts) for _ in range(CHOICES)]
        choices[answer] = text[at + CONTEXT : at + CONTEXT + CONTINUATION]
        yield {"context": text[at : at + CONTEXT], "choices": choices, "answer": answer}


def _documents(setting: Setting) -> list[str]:
    return bases.documents(bases.chinese(setting.kit, setting.gpu, setting.work))


def _piece(draw: random.Random, texts: list[str]) -> str:
    text = draw.choice(texts)
    at = draw.randrange(len(text) - CONTINUATION)
    return text[at : at + CONTINUATION]
