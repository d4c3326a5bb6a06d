"""The package that optimises preferences: TRL, which is an extra."""

from __future__ import annotations

import importlib.util

from sweep.study import InputError, Study

EXTRA = "pip install 'almr-sweep[post]'"


def missing(study: Study) -> str | None:
    """Why this machine cannot train the study's trials; None where it can."""
    if study.training.stage != "dpo" or study.replay or importlib.util.find_spec("trl"):
        return None
    return f"training.stage: dpo is trained by TRL, which is not installed: {EXTRA}"


def refuse_missing(study: Study) -> None:
    """Raises InputError where the study's trials need TRL and it is not installed."""
    if fault := missing(study):
        raise InputError(fault)
