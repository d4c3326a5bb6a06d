"""A request to a program that trains trials, and its answers."""

from __future__ import annotations

from typing import Any

from sweep.external.command.request import CommandRequest, RequestedLanguage, RequestedSchedule, RequestedSource
from sweep.study.sections.recipe.training import Optimizer


def asked(**changes: Any) -> CommandRequest:
    """4 steps of 5 rows of 32 tokens, a quarter of them additional."""
    languages = {"original": 15, "additional": 5}
    content: dict[str, Any] = {
        "trial": "almr=0.25_lr=1e-3_seed=0",
        "almr": 0.25,
        "lr": 1e-3,
        "seed": 0,
        "model": "/model",
        "trust_remote_code": False,
        "steps": 4,
        "batch_sequences": 5,
        "sequence_length": 32,
        "micro_batch_sequences": 5,
        "rows": "/run/train.bin",
        "row_sources": "/run/row_sources.bin",
        "sources": tuple(
            RequestedSource(
                name=name, language=name, rows=rows, tokens=32 * rows, documents=3, packed="/p", held_out="/h"
            )
            for name, rows in languages.items()
        ),
        "languages": {
            name: RequestedLanguage(rows=rows, tokens=32 * rows, documents=3) for name, rows in languages.items()
        },
        "schedule": RequestedSchedule(name="cosine", warmup_steps=1, decay_steps=2, min_lr=0.1),
        "lr_by_step": (5e-4, 1e-3, 5.5e-4, 1e-4),
        "optimizer": Optimizer(),
        "precision": "float32",
        "document_masking": False,
        "borders": (0,),
        "nodes": 1,
        "gpus_per_node": 0,
        "cpus": 1,
        "folder": "/run",
        "checkpoints": "/run/checkpoints",
        "answer": "/run/answer.json",
    }
    return CommandRequest.model_validate(content | changes)


def answered(**changes: Any) -> dict[str, Any]:
    """A sound answer to it."""
    return {
        "trainer": "mine 1.0",
        "steps": 4,
        "tokens": {"original": 480, "additional": 160},
        "loss": {"original": 3.0, "additional": 4.0},
    } | changes
