"""Reads the log, record and model that our own trainer leaves: a run directory with one trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sweep.external.runs import trace
from sweep.study.files.layout import RunFiles, TrialFiles
from sweep.study.files.trial_files import read_record


def read(folder: Path, checkpoints: Path, question: dict[str, Any]) -> dict[str, Any]:
    [run] = [path for path in checkpoints.iterdir() if RunFiles(path).study.is_file()]
    [path] = RunFiles(run).records()
    found = trace.of_trial(path.parent, read_record(path))
    return found.model_dump(mode="json") | {"model": str(TrialFiles(path.parent).model)}
