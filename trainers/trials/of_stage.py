"""The trial of a study's stage, on this rank."""

from __future__ import annotations

import functools
from pathlib import Path
from types import ModuleType

from sweep.study import Ingredients, Record, Study, Trial
from trainers.workers import process_memory
from trainers.workers.importing import without_collection


def run_trial(study: Study, trial: Trial, ingredients: Ingredients, folder: Path, attempt: int) -> Record | None:
    """Train one trial by what trains its stage; see the modules for what they raise. Ranks but the first get None."""
    try:
        record: Record | None = _trainer(study.training.stage).run_trial(study, trial, ingredients, folder, attempt)
        return record
    finally:
        process_memory.give_back()


@functools.cache
def _trainer(stage: str) -> ModuleType:
    """The module that trains a stage: imported by the first trial of a process."""
    with without_collection():
        if stage == "dpo":
            from trainers.preference import trial

            return trial
        from trainers.trials import cpt

        return cpt
