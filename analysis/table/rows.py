"""Rows of a file -> rows of the table of analysis.table: numbers, status, and what is wrong with a row."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.table.columns import OURS, PLAIN
from analysis.table.table import HYPERPARAMETERS, TRAINER
from sweep.study import Status
from sweep.study.files.reader import LARGEST
from sweep.study.tables.cells import MISSING, grouped, number_of, shown, text_of

KEY = (*HYPERPARAMETERS, "seed", "tokens", "parameters")
TEXTS = ("trial_id", "status", "reason", "fingerprint", "excluded", *TRAINER)
WHOLE = ("seed", "attempt", "tokens", "steps", "trained_tokens", "peak_memory_bytes", "parameters")
WORDS = {  # in other tools too: Optuna, Weights & Biases, MLflow, Ray Tune, Slurm
    Status.COMPLETE: ("complete", "completed", "ok", "done", "finished", "success", "succeeded", "terminated"),
    Status.DIVERGED: ("diverged", "divergence", "nan", "exploded"),
    Status.FAILED: (
        *("failed", "fail", "failure", "crashed", "crash", "error", "errored", "oom", "out_of_memory", "killed"),
        *("timeout", "canceled", "cancelled", "aborted", "interrupted", "preempted", "node_fail"),
    ),
}
STATUS = {word: status.value for status, words in WORDS.items() for word in words}
UNFINISHED = {"running", "waiting", "pending", "scheduled", "queued", "paused", "suspended", "created", "starting"}
UNFINISHED |= {"started", "in_progress", "resuming", "preempting", "pruned", "stopped", "early_stopped", "incomplete"}
BASE_LOSSES = {"base_loss_original", "base_loss_additional"}
LARGEST_LOSS = 1e6  # nats: anything over it is a placeholder or an overflow


def state_of(cell: Any) -> str:
    """The word of a status in our spelling: "TrialState.COMPLETE" is "complete"."""
    word = "" if cell is None else str(cell).strip().lower()
    return re.sub(r"[\s-]+", "_", word.rpartition(".")[2].strip()) if word not in MISSING else word


@dataclass(frozen=True)
class Named:
    """How faults name our columns: `names` are the file's own, `hints` what to do where values cannot be."""

    names: Mapping[str, str]
    hints: Mapping[str, str]


def standard_row(cells: Mapping[str, Any], number: int, named: Named) -> dict[str, Any]:
    """The standard row of a file's row, with its `fault`: why it is bad, or None."""
    texts = {name: text_of(cells.get(name)) or None for name in TEXTS}
    texts["trial_id"] = texts["trial_id"] or f"row {number}"
    excluded = None if str(texts["excluded"]).lower() in ("false", "0", "no") else texts["excluded"]
    numbers = {name: number_of(cell) for name, cell in cells.items() if name not in TEXTS}
    status = _status(cells.get("status"), [numbers[name] for name in PLAIN if name in numbers])
    faults = _faults(cells, status, named)
    numbers = {name: n if math.isfinite(n) and name not in faults else math.nan for name, n in numbers.items()}
    of_sources = [name for name in numbers if name.startswith("loss_") and name not in PLAIN]
    numbers |= {name: math.nan for name in of_sources if not 0 < numbers[name] <= LARGEST_LOSS}
    lost = None if status == Status.COMPLETE else f"{status}: {texts['reason'] or 'no reason recorded'}"
    fault = None if excluded or status == Status.FAILED else "; ".join(faults.values()) or None
    if fault and any(name in faults and not grouped(cells[name]) for name in PLAIN):
        fault += " (give the row a status, diverged or failed, or remove it)"
    return texts | numbers | {"status": status, "excluded": excluded or lost, "fault": fault}


def _status(cell: Any, losses: Iterable[float]) -> str:
    """The status of a row; without a status column's word, infinite losses mean diverged."""
    word = state_of(cell)
    if word in STATUS or word not in MISSING:
        return STATUS.get(word, word)
    return Status.DIVERGED.value if math.inf in losses else Status.COMPLETE.value


def _faults(cells: Mapping[str, Any], status: str, named: Named) -> dict[str, str]:
    """Column -> the fault of its cell. Of a trial that did not complete, only the columns of KEY are checked."""
    complete = status == Status.COMPLETE
    needed = {*KEY, *PLAIN} if complete else {*HYPERPARAMETERS, "seed"}
    checked = {*OURS.values(), *(c for c in cells if c.startswith("score_"))} - set(TEXTS) if complete else set(KEY)
    losses_last = sorted(checked & set(cells), key=lambda name: (name in PLAIN, list(cells).index(name)))
    found = {name: _fault(name, cells[name], name in needed, named) for name in losses_last}
    if status not in STATUS.values():
        found["status"] = f"status {shown(status)!r} is not complete, diverged, failed or running"
    return {name: fault for name, fault in found.items() if fault}


def _fault(name: str, cell: Any, needed: bool, named: Named) -> str | None:
    text, number, hint = shown(text_of(cell)), number_of(cell), named.hints.get(name, "")
    own = shown(named.names.get(name, name))
    if not text:
        return f"{own} is missing" if needed else None
    if grouped(cell) and math.isnan(number):
        return f"{own} {text!r} may have its thousands apart ({_written(text)})"
    if not math.isfinite(number):
        return f"{own} {text!r} is not {'finite' if math.isinf(number) else f'a number{hint}'}"
    if name == "almr" and not 0 <= number <= 1:
        return f"{own} {text} is outside 0..1{hint if number > 1 else ' (a share cannot be negative)'}"
    if name == "lr" and number > 0 and not 1 / LARGEST <= number <= LARGEST:
        return f"{own} {text} is beyond every LR"
    if name in PLAIN and abs(number) > LARGEST_LOSS:
        return f"{own} {text} is too large for a loss"
    return f"{own} {text} is not above 0{hint}" if name in {"lr", *PLAIN, *BASE_LOSSES} and number <= 0 else None


def _written(text: str) -> str:
    """How to write a number whose thousands may be apart."""
    whole, *rest = re.split(r"[.,]", text)
    if len(rest) == 1 and (whole + rest[0]).lstrip("+-").isdigit():
        return f"write {whole}{rest[0]} or {whole}.{rest[0]}"
    return "write its digits together, with a decimal point"


def copies(table: pd.DataFrame, cells: pd.DataFrame) -> pd.Series:
    """The rows that are copies of an earlier one: row number -> that of the first.

    One trial twice has the same losses and seed; without seeds, rows have to agree in every cell, since losses are
    rounded. All other rows of one point are replicates.
    """
    key = [name for name in KEY if name in table]
    losses = [name for name in PLAIN if name in table]
    measured = table[losses].notna().any(axis=1) & table["fault"].isna() & table["excluded"].isna()
    alike = table[[*key, *losses]][measured] if "seed" in table else cells[measured]
    first = alike.index.to_series().groupby([alike[name] for name in alike], dropna=False).transform("first")
    return first[first != first.index]


def whole_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The table with counts and seeds as integers, where all of them are."""
    whole = [name for name in WHOLE if name in table and (table[name] % 1 == 0).all() and table[name].max() < 2**53]
    return table.astype(dict.fromkeys(whole, "int64"))
