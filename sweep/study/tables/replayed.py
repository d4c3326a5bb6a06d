"""Rows of a measured table that cannot be replayed: of an unknown status, or complete without a finite loss."""

from __future__ import annotations

import math
from typing import Any

from sweep.study.errors import shown
from sweep.study.record import Status

LOSSES = ("loss_original", "loss_additional")
LONGEST_SECONDS = 1e9  # 30 years; no process can sleep for ten times as long
FIX = "write diverged or failed in its column status, or leave the row out"


def fault(row: dict[str, Any]) -> str | None:
    """What is wrong with a row of numbers, texts and None, and what to do; None where nothing is."""
    status = row.get("status")
    if status is not None and status not in [*Status]:
        return f"status {shown(status)}: write complete, diverged or failed, or leave it empty for complete"
    infinite = [name for name, value in row.items() if isinstance(value, float) and math.isinf(value)]
    if status in (None, Status.COMPLETE):
        unknown = [name for name in LOSSES if not isinstance(row.get(name), float)]
        if bad := [*unknown, *infinite]:
            value = row.get(bad[0])
            what = "empty" if value is None else f"{shown(value)}, no finite number"
            return f"{bad[0]} is {what}, but the trial counts as complete: {FIX}"
    if infinite:
        return f"{infinite[0]} is {row[infinite[0]]}: leave it empty"
    seconds = row.get("seconds") or 0.0
    if not isinstance(seconds, float) or not 0 <= seconds <= LONGEST_SECONDS:
        return f"seconds is {shown(seconds)}: write the time that the trial took, or leave it empty"
    return None
