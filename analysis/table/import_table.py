"""Import of a CSV or parquet file of finished trials as the table of analysis.table.

An unusable row is refused with its line number, or kept with the reason in `excluded`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.table.table import COLUMNS, HYPERPARAMETERS, usable
from analysis.table.table_file import MISSING, TableFile, listing, number_of, read_file, text_of
from sweep.study import InputError, Status

PLAIN = {"loss_original": "original", "loss_additional": "additional", "loss_total": "loss"}
OURS = (
    {name: name for name in HYPERPARAMETERS}
    | {plain: name for name, plain in PLAIN.items()}
    | {name: name for name in ("seed", "tokens", "status", "reason", "parameters")}
    | {"base_original": "base_loss_original", "base_additional": "base_loss_additional"}
)
KEY = (*HYPERPARAMETERS, "seed", "tokens", "parameters")
TEXTS = ("trial_id", "status", "reason", "fingerprint", "excluded")
WHOLE = ("seed", "attempt", "tokens", "steps", "trained_tokens", "peak_memory_bytes", "parameters")
WORDS = {
    Status.COMPLETE: ("complete", "completed", "ok", "done", "finished", "success", "succeeded"),
    Status.DIVERGED: ("diverged", "divergence", "nan", "exploded"),
    Status.FAILED: ("failed", "crashed", "error", "oom", "out_of_memory", "killed", "timeout"),
}
STATUS = {word: status.value for status, words in WORDS.items() for word in words}
MOST_KINDS = 20  # of faults in a message
VALUE = re.compile(r"'.*?'|[-+]?\d[-+.\de]*")  # in the text of a fault
BASE_LOSSES = {"base_loss_original", "base_loss_additional"}
LARGEST_LOSS = 1e6  # nats: anything over it is a placeholder or an overflow


def read_table(
    path: str | Path,
    columns: str | Mapping[str, str] | None = None,
    where: Sequence[str] = (),
    drop_bad_rows: bool = False,
) -> pd.DataFrame:
    """Read a CSV or parquet file of trials, one row each, in the file's order.

    The result has COLUMNS, then `loss_total` and `parameters` if there, and every `score_*`. Losses are in nats per
    token, `almr` is a share of tokens (0 to 1), `excluded` says why a row is not fitted.

    `columns`: the names of the file's columns, {"almr": "mix", ...} or "almr=mix,...", of almr, lr, original,
    additional, loss, seed, tokens, status, reason, parameters; one that is left out has its standard name. `where`:
    "name=value" each, all have to hold.

    Raises InputError for a file, a column or a filter that does not exist, for bad rows (one line for each kind of
    fault) unless `drop_bad_rows`, and for a mix of several tokens or parameters.
    """
    path = Path(path)
    file = read_file(path)
    sources = _sources(file, columns)
    for condition in where:
        file = _filter(file, sources, condition)
    table = _standardised(file, sources)
    faults = table.pop("fault").dropna()
    if len(faults) and not drop_bad_rows:
        raise InputError(_complaint(file, faults))
    table.loc[faults.index, [name for name in PLAIN if name in table]] = math.nan
    table.loc[faults.index, "excluded"] = "bad row: " + faults.astype(str)
    _refuse_mixture(path, table)
    more = [name for name in ("loss_total", "parameters", *table) if name in table and name not in COLUMNS]
    return table.reindex(columns=[*COLUMNS, *dict.fromkeys(more)]).reset_index(drop=True)


def _sources(file: TableFile, columns: str | Mapping[str, str] | None) -> dict[str, str]:
    """Standard name -> the column of the file to read it from."""
    stated = _stated(file, columns)
    free = [name for name in file.names if name not in stated.values()]
    standard = [*COLUMNS, "parameters", *(name for name in free if name.startswith("score_"))]
    found = stated | _losses(file, free, stated)
    # An empty column, as in our own trials.csv, counts as missing.
    found |= {
        n: n
        for n in standard
        if n in free and n not in {*PLAIN, *stated} and (n in HYPERPARAMETERS or file.has_values(n))
    }
    lacking = [name for name in HYPERPARAMETERS if name not in found]
    lacking += [] if set(PLAIN) & set(found) else ["a loss"]
    if lacking:
        raise InputError(
            f"{file.path}: no column for {', '.join(lacking)}: pass --columns almr=...,lr=...,original=...,"
            f"additional=... (or loss=... for one combined loss); its columns are {listing(file.names)}"
        )
    return found


def _pairs(columns: str | Mapping[str, str] | None) -> Iterator[tuple[str, str]]:
    if columns is None or isinstance(columns, Mapping):
        yield from (columns or {}).items()
        return
    for piece in columns.split(","):
        ours, _, theirs = (part.strip() for part in piece.partition("="))
        if not (ours and theirs):
            raise InputError(f"--columns: {piece.strip()!r} is not ours=theirs, as in almr=mix")
        yield ours, theirs


def _stated(file: TableFile, columns: str | Mapping[str, str] | None) -> dict[str, str]:
    """The mapping of --columns."""
    stated: dict[str, str] = {}
    for ours, theirs in _pairs(columns):
        if ours not in OURS:
            raise InputError(f"--columns: {ours!r} is not one of {', '.join(OURS)}")
        if theirs not in file.names:
            raise file.without(theirs)
        if OURS[ours] in stated or theirs in stated.values():
            raise InputError(f"--columns: {ours if OURS[ours] in stated else theirs} is given twice; leave one out")
        stated[OURS[ours]] = theirs
    if "loss_total" in stated and len(set(PLAIN) & set(stated)) > 1:
        raise InputError("--columns: give loss, or original and additional, not both")
    return stated


def _losses(file: TableFile, free: list[str], stated: Mapping[str, str]) -> dict[str, str]:
    """The loss columns found by name: one per language, or a combined one."""
    given = set(PLAIN) & set(stated)
    allowed = (
        [] if "loss_total" in given else [n for n in PLAIN if n not in given and not (given and n == "loss_total")]
    )
    plain = not set(PLAIN) & set(file.names)
    found = {name: theirs for name in allowed if (theirs := PLAIN[name] if plain else name) in free}
    filled = {name: theirs for name, theirs in found.items() if file.has_values(theirs)}
    found = filled if filled or given else found
    if "loss_total" in found and len(found) > 1:
        choices = " or ".join(f"{PLAIN[name]}={theirs}" for name, theirs in found.items())
        raise InputError(f"{file.path}: has a combined loss and one per language: choose with --columns {choices}")
    return found


def _filter(file: TableFile, sources: Mapping[str, str], condition: str) -> TableFile:
    name, equals, value = (part.strip() for part in condition.partition("="))
    if not (name and equals):
        raise InputError(f"--where: {condition!r} is not name=value, as in tokens=2048")
    column = sources.get(OURS.get(name, name), name)
    if column not in file.names:
        raise file.without(name)
    kept = {n: row for n, row in file.rows.items() if _same(row[column], value)}
    if not kept:
        values = listing(map(text_of, file.column(column)))
        raise InputError(f"{file.path}: no row has {name}={value}; the values are {values}")
    return replace(file, rows=kept)


def _same(cell: Any, value: str) -> bool:
    return number_of(cell) == number_of(value) or text_of(cell) == text_of(value)


def _standardised(file: TableFile, sources: Mapping[str, str]) -> pd.DataFrame:
    """Standard rows, indexed by row number, with `fault`: why a row is bad, or None."""
    largest = max((n for n in map(number_of, file.column(sources["almr"])) if math.isfinite(n)), default=0.0)
    hint = "is it in percent? divide by 100" if largest <= 100 else "write the additional language's share of tokens"
    rows = [_row({name: row[sources[name]] for name in sources}, n, hint) for n, row in file.rows.items()]
    table = pd.DataFrame(rows, list(file.rows)).astype(dict.fromkeys(("reason", "excluded", "fault"), object))
    key = [name for name in KEY if name in table]
    # Without seeds, rows that agree in every loss too are one trial, written twice.
    same = key if "seed" in table else [*key, *(name for name in PLAIN if name in table)]
    table["fault"] = table["fault"].where(table["fault"].notna(), _repeated(table, same, file.unit))
    if "seed" not in table:
        table["seed"] = table.groupby(key, dropna=False).cumcount()
    whole = [name for name in WHOLE if name in table and (table[name] % 1 == 0).all() and table[name].max() < 2**53]
    return table.astype(dict.fromkeys(whole, "int64"))


def _row(cells: Mapping[str, Any], number: int, hint: str) -> dict[str, Any]:
    """The standard row of a file's row, with its `fault`."""
    texts = {name: text_of(cells.get(name)) or None for name in TEXTS}
    texts["trial_id"] = texts["trial_id"] or f"row {number}"
    excluded = None if str(texts["excluded"]).lower() in ("false", "0", "no") else texts["excluded"]
    numbers = {name: number_of(cell) for name, cell in cells.items() if name not in TEXTS}
    status = _status(cells.get("status"), [numbers[name] for name in PLAIN if name in numbers])
    faults = _faults(cells, status, hint)
    numbers = {name: n if math.isfinite(n) and name not in faults else math.nan for name, n in numbers.items()}
    lost = None if status == Status.COMPLETE else f"{status}: {texts['reason'] or 'no reason recorded'}"
    fault = None if excluded else "; ".join(faults.values()) or None
    if fault and set(PLAIN) & set(faults):
        fault += ": give the row a status, diverged or failed, or remove it"
    return texts | numbers | {"status": status, "excluded": excluded or lost, "fault": fault}


def _status(cell: Any, losses: Iterable[float]) -> str:
    """The status of a row; without a status column's word, infinite losses mean diverged."""
    word = "" if cell is None else str(cell).strip().lower()
    if word in STATUS or word not in MISSING:
        return STATUS.get(word, word)
    return Status.DIVERGED.value if math.inf in losses else Status.COMPLETE.value


def _faults(cells: Mapping[str, Any], status: str, hint: str) -> dict[str, str]:
    """Column -> the fault of its cell. Of a trial that did not complete, only the columns of KEY are checked."""
    complete = status == Status.COMPLETE
    needed = {*KEY, *PLAIN} if complete else {*HYPERPARAMETERS, "seed"}
    checked = {*OURS.values(), *(c for c in cells if c.startswith("score_"))} - set(TEXTS) if complete else set(KEY)
    losses_last = sorted(checked & set(cells), key=lambda name: (name in PLAIN, list(cells).index(name)))
    found = {name: _fault(name, cells[name], name in needed, hint) for name in losses_last}
    if status not in STATUS.values():
        found["status"] = f"status {status!r} is not complete, diverged or failed"
    return {name: fault for name, fault in found.items() if fault}


def _fault(name: str, cell: Any, needed: bool, hint: str) -> str | None:
    text, number = text_of(cell), number_of(cell)
    if not text:
        return f"{name} is missing" if needed else None
    if not math.isfinite(number):
        return f"{name} {text!r} is not {'finite' if math.isinf(number) else 'a number'}"
    if name == "almr" and not 0 <= number <= 1:
        return f"almr {text} is outside 0..1: {hint if number > 1 else 'a share cannot be negative'}"
    if name in PLAIN and abs(number) > LARGEST_LOSS:
        return f"{name} {text} is too large for a loss"
    return f"{name} {text} is not above 0" if name in {"lr", *PLAIN, *BASE_LOSSES} and number <= 0 else None


def _repeated(table: pd.DataFrame, key: list[str], unit: str) -> pd.Series:
    """The fault of each row that repeats an earlier one's key. A failed trial may be repeated."""
    data = table[table["fault"].isna()]
    data = data[data["excluded"].isna() | data["excluded"].astype(str).str.startswith("diverged: ")]
    first = data.index.to_series().groupby([data[name] for name in key], dropna=False).transform("first")
    return first[first != first.index].map(lambda n: f"the same {', '.join(key)} as {unit} {n}")


def _complaint(file: TableFile, faults: pd.Series) -> str:
    """One line for each kind of fault: its first row, and the numbers of the others."""
    kinds = [kind for _, kind in faults.groupby(faults.map(lambda fault: VALUE.sub("", fault)), sort=False)]
    lines = [f"{file.path}, {file.unit} {kind.index[0]}: {kind.iloc[0]}{_others(kind, file.unit)}" for kind in kinds]
    more = [f"and {len(lines) - MOST_KINDS} more kinds of faults"] if len(lines) > MOST_KINDS else []
    return "\n".join([*lines[:MOST_KINDS], *more, "correct them, or pass --drop-bad-rows to leave them out"])


def _others(kind: pd.Series, unit: str) -> str:
    """The rows of a fault other than the first."""
    others = [str(number) for number in kind.index[1:]]
    more = f" and {len(others) - 2} more" if len(others) > 2 else ""
    return f" (the same fault in {unit}{'s' * (len(others) > 1)} {', '.join(others[:2])}{more})" if others else ""


def _refuse_mixture(path: Path, table: pd.DataFrame) -> None:
    """Raise InputError where usable rows differ in tokens or parameters."""
    for name in ("tokens", "parameters"):
        values = sorted(set(usable(table)[name].dropna())) if name in table else []
        texts = [str(int(v)) if v == int(v) else str(float(v)) for v in values]
        if len(values) > 1:
            raise InputError(
                f"{path}: {len(values)} values of {name} ({listing(texts)}): "
                f"a fit takes one; choose with --where {name}={texts[0]}"
            )
