"""Measures a base model on a GPU of the cluster, once and before the first trial, where the preparation did not."""

from __future__ import annotations

import os

import ray

from sweep.controller import cluster
from sweep.store.run import Run
from sweep.study import Ingredients, InputError, Study
from sweep.study.ingredients import BaseModelCheck

BFLOAT16_WITH_ROOM = 2.5  # bytes per parameter on a GPU, for weights and one micro-batch
FLOAT32_WITH_ROOM = 4.5  # the same in host memory
TOO_LARGE = "it fits neither on one GPU nor in a node's memory: the first trial measures it"


def is_needed(study: Study, made: Ingredients | None) -> bool:
    known = study.replay or study.training.stage == "dpo"  # there it is ln 2 by definition
    check = made.base_check if made and not known else None
    return check is not None and not check.losses and check.unmeasured != TOO_LARGE


def measure(study: Study, run: Run, made: Ingredients, address: str | None) -> Ingredients:
    """Measure it; returns the ingredients with what was found.

    Raises InputError with one line where the base model is broken: no trial has started then.
    """
    with cluster.joined(run, address):
        task = ray.remote(num_gpus=min(1, study.resources.gpus), max_calls=1)(_measure)  # its memory is free afterwards
        answer, fault = ray.get(task.remote(study.model_dump_json(by_alias=True), made.model_dump_json()))
    if fault:
        raise InputError(fault)
    return made.model_copy(update={"base_check": BaseModelCheck.model_validate_json(answer)})


def _measure(study_json: str, ingredients_json: str) -> tuple[str, str]:
    """On a node: what was found, or the line that refuses the model."""
    import torch

    from trainers.loop.base import check

    study, made = Study.model_validate_json(study_json), Ingredients.model_validate_json(ingredients_json)
    assert made.base_check
    size = made.base_check.parameters
    if torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > BFLOAT16_WITH_ROOM * size:
        device = torch.device("cuda")
    elif os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") > FLOAT32_WITH_ROOM * size:
        device = torch.device("cpu")
    else:
        return made.base_check.model_copy(update={"unmeasured": TOO_LARGE}).model_dump_json(), ""
    try:
        return check.measure(study, made, device).model_dump_json(), ""
    except InputError as error:
        return "", str(error)
