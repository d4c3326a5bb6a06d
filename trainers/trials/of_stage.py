"""The trial of a study's stage, on this rank."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

from sweep.study import Ingredients, Record, Study, Trial
from trainers.workers.importing import without_collection


def run_trial(study: Study, trial: Trial, ingredients: Ingredients, folder: Path, attempt: int) -> Record | None:
    """Train one trial by what trains its stage; see the modules for what they raise. Ranks but the first get None."""
    try:
        return _trainer(study)(study, trial, ingredients, folder, attempt)
    finally:
        gc.collect()  # its model refers to itself, and would stay while the next trials of this process run
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
            trim(0)  # of this trial's thread: the next one's may have another heap


def _trainer(study: Study) -> Callable[[Study, Trial, Ingredients, Path, int], Record | None]:
    with without_collection():
        if study.training.stage == "dpo":
            from trainers.preference import trial as preference

            return preference.run_trial
        from trainers.trials import cpt

        return cpt.run_trial
