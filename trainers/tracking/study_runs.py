"""The study as a run of its own in W&B and MLflow, and trials whose end only the driver knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep.study import Record, Study
from trainers.tracking import mlflow_run, wandb_run
from trainers.tracking.packages import used
from trainers.tracking.tracker import Tell, fault, tracked


def open_runs(study: Study, folder: Path, tell: Tell) -> None:
    """Make the runs of the study that its trials need before they start. What fails is told, and never raised."""
    if study.tracking.mlflow:
        _try("mlflow", "open", lambda: mlflow_run.open_study(study, folder), tell)


def conclude(study: Study, folder: Path, facts: Mapping[str, Any], files: Sequence[Path], end: str, tell: Tell) -> None:
    """Send the result of a study: `facts` by name, its files, and `end`, how it ended."""
    if study.tracking.wandb:
        _try("wandb", "send the result to", lambda: wandb_run.conclude(study, folder, facts, files, end), tell)
    if study.tracking.mlflow:
        _try("mlflow", "send the result to", lambda: mlflow_run.conclude(study, folder, facts, files, end), tell)


def end_trial(study: Study, record: Record, folder: Path, tell: Tell) -> None:
    """Send the record of a trial whose worker could not: one that was killed, or failed before it trained."""
    if used(study.tracking):
        with tracked(study, record.trial, folder, None, tell) as tracker:
            tracker.ended(record)


def _try(name: str, doing: str, act: Callable[[], None], tell: Tell) -> None:
    try:
        act()
    except Exception as error:  # a network, a server or a credential
        tell(f"{fault(name, doing, error)}; the run goes on")
