"""The one reader of `fit.json`."""

from __future__ import annotations

from pathlib import Path

from analysis.fit_file.fit_file import SCHEMA_VERSION, FitFile
from sweep.study.files import reader
from sweep.study.files.layout import RunFiles

REMEDY = "write it anew: almr fit RUN"


def read_fit(run: Path, remedy: str = REMEDY) -> FitFile:
    """The `fit.json` of a run directory.

    Raises FileNotFoundError where the run was never fitted, and InputError naming file, field and remedy where the file
    is of another schema version or cannot be read.
    """
    return reader.read(RunFiles(run).fit, FitFile, "fit", SCHEMA_VERSION, remedy)
