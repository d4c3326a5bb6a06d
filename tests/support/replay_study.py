"""A study that answers from a table, so that a run of it takes no training."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from samples import bowl_csv, study_content

GRID = {"almr": [0.1, 0.4, 0.7], "lr": [1e-3, 3e-3, 1e-2]}


def replayed(folder: Path, seconds: float = 0.0, edit: Callable[[str], str] = str, **changes: Any) -> Path:
    """A study that answers from a bowl-shaped table; `edit` may change the table's text."""
    table = bowl_csv(folder / "table.csv", [0.1, 0.2, 0.4, 0.7, 0.9], GRID["lr"], seconds=seconds)
    table.write_text(edit(table.read_text()))
    replay = {"table": "table.csv", "pace": 1.0}
    content = study_content(name="replayed", replay=replay, **({"grid": GRID} | changes))
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def wait_for_records(run: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while len(list(run.glob("trials/*/record.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no records in time"
        time.sleep(0.05)
