"""The packages of the tracking tools that a study names."""

from __future__ import annotations

import importlib.util

from sweep.study import InputError
from sweep.study.sections.resources import Tracking

MODULES = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow"}
DISTRIBUTIONS = MODULES | {"mlflow": "mlflow-skinny"}  # the client alone


def used(tracking: Tracking) -> list[str]:
    """The fields of `tracking` that are set and of which each trial has a session."""
    return [name for name in MODULES if getattr(tracking, name)]


def distributions(tracking: Tracking) -> list[str]:
    """The names of the packages that the study's tracking needs."""
    return [DISTRIBUTIONS[name] for name in used(tracking)]


def missing(tracking: Tracking) -> list[str]:
    """One line for each tool of the study that is not installed."""
    return [
        f"tracking.{name}: {MODULES[name]} is not installed: pip install 'almr-sweep[tracking]', or remove this field"
        for name in used(tracking)
        if importlib.util.find_spec(MODULES[name]) is None
    ]


def refuse_missing(tracking: Tracking) -> None:
    """Raises InputError where a tool of the study is not installed."""
    if lines := missing(tracking):
        raise InputError("\n".join(lines))
