"""A trial as a study of its own, whose base model is a folder: what another trainer is given to train it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sweep.study import Ingredients, Study, Trial


def of_study(study: Study, trial: Trial, ingredients: Ingredients, tokens: int | None = None, **more: Any) -> Study:
    """`ingredients`: with the folder that the trial continued from, and the part of each corpus that it draws from.
    `tokens`: of the run, where not the study's budget: then it has the warm-up steps of the whole budget, as a branch
    to this horizon has. `more`: other fields of the study.
    """
    content = study.model_dump(mode="json", by_alias=True)
    content["training"] |= {"log_every": 1, "evaluate_every": None, "horizons": [], "simulate_epochs": False}
    if tokens:
        content["training"] |= {"tokens": tokens}
        content["training"]["schedule"]["warmup"] = study.training.warmup_steps / study.training.steps_of(tokens)
    for name, corpus in sources(content):
        blocks = ingredients.corpora[name].trial_blocks
        corpus["trial_tokens"] = blocks and blocks * study.training.sequence_length
    changed = {
        "base_model": {"pretrained": ingredients.base_model, "trust_remote_code": study.base_model.trust_remote_code},
        "grid": {"almr": [trial.almr], "lr": [trial.lr], "seeds": [trial.seed]},
        "search": {},
        "tracking": {"tensorboard": False},
        "launch": None,
        "post_training": None,
        "benchmarks": None,
    }
    return Study.model_validate(content | changed | more)


def sources(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The sources of a study's content, by name."""
    for language, given in content["corpora"].items():
        for corpus in given if isinstance(given, list) else [given]:
            yield corpus["name"] or language, corpus
