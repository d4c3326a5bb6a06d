"""The sessions of a run and of its trials in the tracking tools: `tracking.json`.

A trial that is tried again, or goes on from a checkpoint, continues its session instead of making a second one.
"""

from __future__ import annotations

import json
from pathlib import Path

from sweep.study.files.atomic import write_atomically
from sweep.study.files.layout import TRACKING
from sweep.study.files.reader import read_object


def session(folder: Path, tool: str) -> str | None:
    """The id of the session that the run or trial in a folder has in a tool; None before it has one."""
    found = (read_object(folder / TRACKING) or {}).get(tool)
    return found if isinstance(found, str) else None


def keep(folder: Path, tool: str, identity: str) -> str:
    """Note the id of a session; returns it."""
    known = read_object(folder / TRACKING) or {}
    write_atomically(folder / TRACKING, json.dumps(known | {tool: identity}, indent=2))
    return identity


def of_run(trial_folder: Path, tool: str) -> str | None:
    """The session of the run that a trial belongs to, by the trial's folder."""
    return session(trial_folder.parents[1], tool)
