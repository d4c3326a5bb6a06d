"""Reads the filled-in table of results, one row per confirmation run; errors name the line and the fix."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from pathlib import Path

from analysis.launch.confirm.plan import TRAINER, ConfirmPlan
from analysis.transfer.bracket import ConfirmationRun
from sweep.study import InputError
from sweep.study.errors import shown
from sweep.study.files import regular

STATUSES = ("complete", "diverged", "")
MOST_BYTES = 2**20  # of a table of a few runs


def read(path: Path, confirm: ConfirmPlan) -> list[ConfirmationRun]:
    """Rows without a status and losses were not run and are left out. Raises InputError, also for runs of two trainers
    (in a column `trainer`, which may be missing)."""
    content = regular.content(path, "give the table as a CSV file", MOST_BYTES)
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        header, rows = reader.fieldnames or (), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}): save it as UTF-8 text with commas") from None
    needed = ["lr", *(f"loss_{name}" for name in confirm.weights)]
    if missing := [name for name in needed if name not in header]:
        raise InputError(f"{path}: has no column {missing[0]}: its header is {','.join(confirm.columns)}")
    found = [run for i, row in enumerate(rows, start=2) if (run := _row(row, f"{path}: line {i}", confirm))]
    _refuse_two_trainers(path, found)
    return found


def _refuse_two_trainers(path: Path, runs: list[ConfirmationRun]) -> None:
    found = Counter(run.trainer for run in runs if run.trainer)
    if len(found) > 1:
        counts = ", ".join(f"{shown(name)}: {number}" for name, number in found.most_common())
        raise InputError(
            f"{path}: the runs are of {len(found)} trainers ({counts}), whose losses are not compared: keep the "
            f"rows of one"
        )


def _row(row: dict[str, str | None], where: str, confirm: ConfirmPlan) -> ConfirmationRun | None:
    status = (row.get("status") or "").strip().lower()
    if status not in STATUSES:
        raise InputError(f"{where}: status {shown(status)}: write complete, diverged, or nothing where it was not run")
    losses = {name: (row.get(f"loss_{name}") or "").strip() for name in confirm.weights}
    if status == "" and not any(losses.values()):
        return None
    lr = _number((row.get("lr") or "").strip(), "lr", where)
    trainer = (row.get(TRAINER) or "").strip()
    if status == "diverged":
        return ConfirmationRun(lr=lr, loss=None, trainer=trainer)
    values = {name: _number(text, f"loss_{name}", where) for name, text in losses.items()}
    loss = sum(share * values[name] for name, share in confirm.weights.items())
    return ConfirmationRun(lr=lr, loss=loss, trainer=trainer)


def _number(text: str, field: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{where}: {field} {shown(text)} is not a number: write one, or status diverged") from None
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{where}: {field} {text} is not a positive number: write status diverged for such a run")
    return value
