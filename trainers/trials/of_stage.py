"""The trial of a study's stage, on this rank."""

from __future__ import annotations

from pathlib import Path

from sweep.study import Ingredients, Record, Study, Trial
from trainers.workers.importing import without_collection


def run_trial(study: Study, trial: Trial, ingredients: Ingredients, folder: Path, attempt: int) -> Record | None:
    """Train one trial by what trains its stage; see the modules for what they raise. Ranks but the first get None."""
    if study.training.stage == "dpo":
        with without_collection():
            from trainers.preference import trial as preference

        return preference.run_trial(study, trial, ingredients, folder, attempt)
    with without_collection():
        from trainers.trials import cpt

    return cpt.run_trial(study, trial, ingredients, folder, attempt)
