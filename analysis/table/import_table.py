"""Import of a user's own file of finished trials as the table of analysis.table.

An unusable row is refused with its number, or kept with the reason in `excluded`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.table import beside as varied
from analysis.table import trainers, units
from analysis.table.columns import OURS, PLAIN, sources
from analysis.table.faults import complaint, count, numbered, summary
from analysis.table.rows import KEY, UNFINISHED, Named, copies, standard_row, state_of, whole_numbers
from analysis.table.table import COLUMNS, HYPERPARAMETERS, usable
from sweep.study import InputError, Status
from sweep.study.record import SIMULATED, simulated_losses
from sweep.study.tables.cells import listing, number_of, text_of, with_decimal_points
from sweep.study.tables.table_file import TableFile, read_file

Found = Mapping[str, str]  # standard name -> the file's column


def read_table(
    path: str | Path,
    columns: str | Mapping[str, str] | None = None,
    where: Sequence[str] = (),
    drop_bad_rows: bool = False,
) -> pd.DataFrame:
    """Read a file of trials, one row each, in the file's order: text in columns, JSON, parquet or .xlsx.

    The result has COLUMNS, then `loss_total` and `parameters` if there, every `score_*`, and what the file has of
    sources of the text, such as `loss_web` and `base_loss_web`. Losses are in nats per
    token, `almr` is a share of tokens (0 to 1), `excluded` says why a row is not fitted. Where the file has no column
    of ALMR, or none of LR, ours is NaN. `attrs["notes"]` says what was left out or converted, a line each, and
    `attrs["settings"]` what the fit warns of: settings that vary and that it does not know.

    `columns`: the names of the file's columns, {"almr": "mix", ...} or "almr=mix,...", of almr, lr, original,
    additional, loss, seed, tokens, status, reason, parameters, trainer, trainer_version; one that is left out is found
    by its name. `where`: "name=value" each, all have to hold.

    Raises InputError for a file, a column or a filter that does not exist, in one line for all bad rows unless
    `drop_bad_rows`, and for a mix of several tokens, parameters or trainers.
    """
    file = read_file(Path(path))
    found = sources(file, columns)
    file = replace(file, rows=with_decimal_points(file.rows, found.values()))
    for condition in where:
        file = _filter(file, found, condition)
    file = _finished(units.in_our_units(file, found), found)
    table = _standardised(file, found)
    beside, settings = varied.find(_complete(file, table), found)
    made = dict.fromkeys(filter(None, map(text_of, file.column(SIMULATED)))) if SIMULATED in file.names else ()
    settings = [*map(simulated_losses, made), *settings]
    table, told = _without_copies(file, table)
    table, bad = _without_bad_rows(file, table, drop_bad_rows)
    _refuse_mixture(file.path, table)
    doubts = list(units.doubts(file, found, table))
    more = [name for name in ("loss_total", "parameters", *table) if name in table and name not in COLUMNS]
    table = table.reindex(columns=[*COLUMNS, *dict.fromkeys(more)]).reset_index(drop=True)
    table.attrs |= {"notes": [*file.notes, *told, *bad, *doubts, *beside], "settings": settings, "file": str(path)}
    return table


def notes(table: pd.DataFrame) -> list[str]:
    """What to know of a table that was read: rows that were left out, units that were converted."""
    return list(table.attrs.get("notes", ()))


def _filter(file: TableFile, found: Found, condition: str) -> TableFile:
    name, equals, value = (part.strip() for part in condition.partition("="))
    if not (name and equals):
        raise InputError(f"--where: {condition!r} is not name=value, as in tokens=2048")
    column = found.get(OURS.get(name, name), name)
    if column not in file.names:
        raise file.without(name)
    kept = {n: row for n, row in file.rows.items() if _same(row[column], value)}
    if not kept:
        values = listing(map(text_of, file.column(column)))
        raise InputError(f"{file.path}: no row has {name}={value}; the values are {values}")
    return replace(file, rows=kept)


def _same(cell: Any, value: str) -> bool:
    return number_of(cell) == number_of(value) or text_of(cell) == text_of(value)


def _finished(file: TableFile, found: Found) -> TableFile:
    """The file without the rows whose status says that they have not finished. Raises InputError where none has."""
    if "status" not in found:
        return file
    words = {n: word for n, row in file.rows.items() if (word := state_of(row[found["status"]])) in UNFINISHED}
    if not words:
        return file
    counts = ", ".join(f"{n} {word}" for word, n in Counter(words.values()).most_common())
    if len(words) == len(file.rows):
        raise InputError(f"{file.path}: no trial has finished ({counts}): run them to their end, and export again")
    left = f"left out: {count(len(words), 'trial', 'trials')} that did not finish ({counts})"
    note = f"{left}, {numbered(file.unit, list(words))}"
    rest = {n: row for n, row in file.rows.items() if n not in words}
    return replace(file, rows=rest, notes=(*file.notes, note))


def _standardised(file: TableFile, found: Found) -> pd.DataFrame:
    """Standard rows, indexed by row number, with `fault`: why a row is bad, or None."""
    named = Named(units.names(found), units.hints(file, found))
    rows = [standard_row({ours: row[found[ours]] for ours in found}, n, named) for n, row in file.rows.items()]
    table = pd.DataFrame(rows, list(file.rows)).astype(dict.fromkeys(("reason", "excluded", "fault"), object))
    return table.assign(**{name: math.nan for name in HYPERPARAMETERS if name not in found})


def _complete(file: TableFile, table: pd.DataFrame) -> TableFile:
    """The file's rows of trials that completed: one that failed and ran again is no repeat. All where none has."""
    rows = {n: file.rows[n] for n in table.index[table["status"] == Status.COMPLETE.value]}
    return replace(file, rows=rows or file.rows)


def _without_copies(file: TableFile, table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    cells = pd.DataFrame([{name: text_of(cell) for name, cell in row.items()} for row in file.rows.values()])
    twice = copies(table, cells.set_axis(table.index)).index
    if not len(twice):
        return table, []
    told = f"counted once: {count(len(twice), 'copy of an earlier row', 'copies of earlier rows')}"
    return table.drop(index=twice), [f"{told}, {numbered(file.unit, list(twice))}"]


def _without_bad_rows(file: TableFile, table: pd.DataFrame, drop: bool) -> tuple[pd.DataFrame, list[str]]:
    """The table with bad rows excluded; each row has a seed. Raises InputError for bad rows unless `drop`."""
    faults = table["fault"].dropna()
    table = table.drop(columns="fault")
    if len(faults) and not drop:
        raise InputError(f"{file.path}{complaint(file.unit, faults, len(file.rows))}")
    table.loc[faults.index, [name for name in PLAIN if name in table]] = math.nan
    table.loc[faults.index, "excluded"] = "bad row: " + faults.astype(str)
    if "seed" not in table:
        table["seed"] = table.groupby([name for name in KEY if name in table], dropna=False).cumcount()
    told = (
        [f"left out: {count(len(faults), 'bad row', 'bad rows')}, {summary(file.unit, faults)}"] if len(faults) else []
    )
    return whole_numbers(table), told


def _refuse_mixture(path: Path, table: pd.DataFrame) -> None:
    """Raise InputError where usable rows differ in tokens, parameters or trainer."""
    trainers.refuse_several(table, str(path), "choose one with --where trainer={trainer}")
    for name in ("tokens", "parameters"):
        values = sorted(set(usable(table)[name].dropna())) if name in table else []
        texts = [str(int(v)) if v == int(v) else str(float(v)) for v in values]
        if len(values) > 1:
            raise InputError(
                f"{path}: {len(values)} values of {name} ({listing(texts)}): "
                f"a fit takes one; choose with --where {name}={texts[0]}"
            )
