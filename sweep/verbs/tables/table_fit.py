"""A user's own table, and the options that say how to read it and what to minimise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pydantic

from analysis.table.import_table import read_table
from sweep.study import LANGUAGES, InputError, Objective, Weights
from sweep.verbs.options import ObjectiveOptions, TableOptions

TABLES = (".csv", ".tsv", ".parquet", ".gz", ".xlsx", ".xls", ".json", ".jsonl")  # what a user may take for a table
OPTIONS = "--columns, --where, --drop-bad-rows, --weights, --guard, --base, --level and --out"


@dataclass(frozen=True)
class NamedTable:
    name: str
    table: pd.DataFrame


def read(path: Path, options: TableOptions) -> NamedTable:
    """Read a table, with the base model's losses as columns. Raises InputError as `import_table.read_table`."""
    table = read_table(path, options.columns, options.where or (), options.drop_bad_rows)
    for name, loss in _by_language("--base", options.base).items():
        if not 0 < loss < math.inf:
            raise InputError(f"--base: {name}={loss:g} is not a loss in nats per token: write a number above 0")
        table[f"base_loss_{name}"] = loss
    return NamedTable(path.name.split(".")[0], table)


def objective(options: ObjectiveOptions, level: float | None = None) -> Objective:
    """The objective of a table's fit. Raises InputError naming the option that is wrong."""
    shares = _by_language("--weights", options.weights)
    try:
        return Objective(
            weights=Weights(**(dict.fromkeys(LANGUAGES, 0.0) | shares)) if shares else None,
            forgetting_guard_percent=options.guard,
            **({} if level is None else {"level": level}),
        )
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        names = {"forgetting_guard_percent": "--guard", "level": "--level", "original": "--weights"}
        option = names.get(str(first["loc"][-1] if first["loc"] else ""), "--weights")
        raise InputError(f"{option}: {first['msg'].removeprefix('Value error, ')}") from None


def _by_language(option: str, text: str | None) -> dict[str, float]:
    """original=X,additional=Y -> numbers."""
    try:
        parts = dict(piece.split("=") for piece in text.split(",")) if text else {}
        numbers = {name.strip(): float(number) for name, number in parts.items()}
    except ValueError:
        raise InputError(f"{option} {text}: write it as original=X,additional=Y") from None
    if text and len(numbers) < len(text.split(",")):
        raise InputError(f"{option} {text}: a language is given twice; leave one out")
    if unknown := sorted(set(numbers) - set(LANGUAGES)):
        raise InputError(f"{option}: {', '.join(unknown)}: the languages are {' and '.join(LANGUAGES)}")
    return numbers


def left_out(table: pd.DataFrame) -> list[str]:
    """The bad rows of a table, one line each."""
    bad = table[table["excluded"].astype(str).str.startswith("bad row")]
    return [f"{row.trial_id}: {row.excluded}" for row in bad.itertuples()]


def refuse_for_a_run(source: str, *given: Any) -> None:
    """Raises InputError for options of a table where `source` is a run: they would be ignored."""
    if Path(source).suffix in TABLES:
        raise InputError(f"{source}: no such file")
    if any(value is not None and value is not False and value != [] for value in given):
        raise InputError(
            f"{source}: {OPTIONS} are for a table; a run takes its objective from its study: leave them out"
        )


def refuse_unusable(folder: Path | None) -> None:
    """Raises InputError, before the fit, for an output folder that cannot be written."""
    if folder:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {folder}: {error.strerror}; name a folder that can be written") from None
