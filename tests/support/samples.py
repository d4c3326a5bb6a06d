"""Small studies, texts and measured tables for tests."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

from sweep.study import Study

ENGLISH = "The quick brown fox jumps over the lazy dog, and the dog sleeps on through all of it. "
RHYME = "Twinkle, twinkle, little star, how I wonder what you are, up above the world so high. "
POEM = "床前明月光，疑是地上霜。举头望明月，低头思故乡。"
CHINESE = "天下大势，分久必合，合久必分。话说天下大势，浪花淘尽英雄。"


def numbered(i: int) -> str:
    """What makes a document of a repeated sentence another one than those of other numbers, and no near-copy."""
    return f"Text {i} {i} {i} {i}. "


def study_content(**changes: Any) -> dict[str, Any]:
    """A small valid study; keyword arguments replace top-level fields."""
    return {
        "name": "small",
        "base_model": {"embedded": "tiny"},
        "corpora": {"original": {"embedded": "shakespeare"}, "additional": {"embedded": "three-kingdoms"}},
        "training": {"sequence_length": 32, "tokens": 2048, "global_batch_tokens": 256, "evaluation_tokens": 256},
        "grid": {"almr": [0.1, 0.5, 0.9], "lr": [1e-3, 1e-2]},
    } | changes


def make_study(**changes: Any) -> Study:
    return Study.model_validate(study_content(**changes))


def local_content(folder: Path, model: Path) -> dict[str, Any]:
    """A study of a model on disk and of small text files, which this writes into `folder`."""
    return study_content(base_model={"pretrained": str(model)}, corpora=local_corpora(folder))


def local_corpora(folder: Path) -> dict[str, Any]:
    """Small text files, which this writes into `folder`, as the corpora of a study."""
    corpora = {}
    for language, text in (("original", ENGLISH), ("additional", CHINESE)):
        (folder / language).mkdir()
        for i in range(12):
            (folder / language / f"{i:02}.txt").write_text(numbered(i) + text * 12, encoding="utf-8")
        corpora[language] = {"files": str(folder / language / "*.txt"), "held_out": 0.2}
    return corpora


def with_sources(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The study of `local_content` with two sources a language: its own texts, and as much other text of each."""
    corpora = {}
    others = {"original": ("rhymes", RHYME, (3, 1)), "additional": ("poems", POEM, (1, 1))}
    for language, (name, text, weights) in others.items():
        (folder / name).mkdir()
        for i in range(12):
            (folder / name / f"{i:02}.txt").write_text(numbered(i) + text * 12, encoding="utf-8")
        own = content["corpora"][language] | {"name": f"{language}-prose", "weight": weights[0]}
        other = {"files": str(folder / name / "*.txt"), "held_out": 0.2, "name": name, "weight": weights[1]}
        corpora[language] = [own, other]
    return content | {"corpora": corpora}


def bowl_csv(
    path: Path, almr: list[float], lr: list[float], seeds: tuple[int, ...] = (0,), seconds: float = 0.0
) -> Path:
    """A measured table with its minimum near ALMR 0.6, LR 3e-3: what replayed studies answer from."""
    lines = ["almr,lr,seed,status,reason,loss_original,loss_additional,seconds"]
    for a, r in itertools.product(almr, lr):
        dip = 0.05 * math.log(r / 3e-3) ** 2
        lines.append(f"{a},{r},0,complete,,{3.5 + 0.4 * a**2 + dip},{4.6 + 0.9 * (1 - a) ** 2 + dip},{seconds}")
    path.write_text("\n".join(lines) + "\n")
    return path
