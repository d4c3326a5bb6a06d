"""What a trial of pairs needs: TRL, which is an extra, and one process."""

from __future__ import annotations

import importlib.util

from sweep.study import InputError, Study

EXTRA = "pip install 'almr-sweep[post]'"


def fault(study: Study) -> str | None:
    """Why this machine cannot train the study's trials, if they are of pairs; None where it can."""
    if study.training.stage != "dpo" or study.replay:
        return None
    if study.resources.workers > 1:
        field = "gpus_per_node" if study.resources.gpus else "processes"
        return (
            f"resources: stage dpo trains each trial in one process, not in {study.resources.workers}: write nodes: 1 "
            f"and {field}: 1"
        )
    if importlib.util.find_spec("trl") is None:
        return f"training.stage: dpo is trained by TRL, which is not installed: {EXTRA}"
    return None


def refuse(study: Study) -> None:
    """Raises InputError where the study's trials are of pairs and cannot be trained."""
    if found := fault(study):
        raise InputError(found)
