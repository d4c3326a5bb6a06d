"""The table of trials: records -> one row per trial. `excluded` holds why the fit must not use a row."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from sweep.study import LANGUAGES, Horizon, InputError, Record, Status, Study
from sweep.study.files.layout import RunFiles
from sweep.study.record import read_record

HYPERPARAMETERS = ("almr", "lr")  # of a sweep, in the order of every (ALMR, LR) point
SCALARS = (
    *("trial_id", "almr", "almr_achieved", "lr", "seed", "status", "reason", "attempt", "tokens", "steps"),
    "trained_tokens",
    *("seconds", "training_seconds", "tokens_per_second", "mfu", "peak_memory_bytes", "gpu_hours", "fingerprint"),
)
PER_LANGUAGE = ("loss", "base_loss", "bits_per_byte", "base_bits_per_byte", "epochs")
OFF_GRID, OTHER_RECIPE = FOREIGN = ("not in the study's grid", "made by another recipe")
TOTAL = "total"
COLUMNS = [*SCALARS, *(f"{name}_{language}" for name in PER_LANGUAGE for language in LANGUAGES), "excluded"]


def read_run(run: Path) -> pd.DataFrame:
    """The table of a run directory: one row per `trials/*/record.json`, ordered by (seed, almr, lr).

    Columns are COLUMNS (losses in nats per token), then `score_<name>` for each benchmark, and for each token horizon
    the losses, bits per byte and why its branch diverged, as in `loss_original@81920`. Raises InputError for a folder
    without records and for an unreadable record.
    """
    paths = RunFiles(run).records()
    if not paths:
        raise InputError(f"{run}: no finished trials: run the study first, almr run STUDY")
    return from_records(read_record(path) for path in paths)


def mark_foreign(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The table, with the trials that are not of this study excluded: another recipe, or not in its grid or search."""
    points = zip(table["almr"], table["lr"], table["seed"], strict=True)
    reasons = pd.Series([None if study.includes(*point) else OFF_GRID for point in points], table.index, object)
    reasons[table["fingerprint"] != study.fingerprint] = OTHER_RECIPE
    return table.assign(excluded=table["excluded"].where(reasons.isna(), reasons))


def from_records(records: Iterable[Record]) -> pd.DataFrame:
    """The table of these records, ordered by (seed, almr, lr)."""
    table = pd.DataFrame([_row(record) for record in records])
    table = table.reindex(columns=[*COLUMNS, *(c for c in table.columns if c not in COLUMNS)])
    return table.sort_values(["seed", "almr", "lr"], ignore_index=True)


def _row(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(record, name) for name in SCALARS}
    row["status"] = record.status.value
    for name in PER_LANGUAGE:
        row |= {f"{name}_{language}": getattr(getattr(record, name), language) for language in LANGUAGES}
    row |= {f"score_{name}": score.value for name, score in record.scores.items()}
    for horizon in record.horizons:
        row |= _horizon_columns(horizon)
    row["excluded"] = _why_excluded(record)
    return row


def _horizon_columns(horizon: Horizon) -> dict[str, Any]:
    names = [(name, language) for name in ("loss", "bits_per_byte") for language in LANGUAGES]
    numbers = {f"{name}_{lang}@{horizon.tokens}": getattr(getattr(horizon, name), lang) for name, lang in names}
    return numbers | {f"reason@{horizon.tokens}": horizon.reason}


def _why_excluded(record: Record) -> str | None:
    if record.status is not Status.COMPLETE:
        return f"{record.status.value}: {record.reason or 'no reason recorded'}"
    missing = [language for language in LANGUAGES if not _measured(getattr(record.loss, language))]
    return f"no {' or '.join(missing)} loss" if missing else None


def _measured(loss: float | None) -> bool:
    return loss is not None and math.isfinite(loss)


def with_status(table: pd.DataFrame) -> pd.DataFrame:
    """The same rows with `status` and `excluded`, which a table made by hand may lack: by its losses.

    Raises InputError where it has no ALMR, LR or loss.
    """
    columns = [column for name in (*LANGUAGES, TOTAL) if (column := f"loss_{name}") in table]
    lacking = [name for name in ("almr", "lr") if name not in table]
    if lacking or not columns:
        raise InputError(f"the table has no column {lacking[0] if lacking else 'loss_original, or loss_total'}: add it")
    if "status" not in table:
        table = table.assign(status=Status.COMPLETE.value)
    if "excluded" in table:
        return table
    measured = table[[column for column in columns if table[column].notna().any()]].notna().all(axis=1)
    reasons = [
        f"{status}: no reason recorded" if status != Status.COMPLETE else None if whole else "no loss"
        for status, whole in zip(table["status"], measured, strict=True)
    ]
    return table.assign(excluded=pd.Series(reasons, table.index, object))


def usable(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that the fit uses."""
    return table[table["excluded"].isna()]


def diverged(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that are excluded because they diverged, which bound the surfaces."""
    return table[table["excluded"].astype(str).str.startswith(f"{Status.DIVERGED}: ")]


def languages(table: pd.DataFrame) -> tuple[str, ...]:
    """The languages whose losses were measured; ("total",) where the table has one combined loss."""
    used = usable(table)
    measured = [n for n in (*LANGUAGES, TOTAL) if f"loss_{n}" in table and used[f"loss_{n}"].notna().any()]
    return tuple(n for n in measured if n != TOTAL or len(measured) == 1)


def objective(table: pd.DataFrame, weights: dict[str, float]) -> pd.Series:
    """The weighted mean of the held-out losses of each row, in nats; NaN where one with a weight is missing."""
    parts = [share * table[f"loss_{language}"].astype(float) for language, share in weights.items() if share > 0]
    return sum(parts[1:], start=parts[0])
