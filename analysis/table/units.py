"""Units of a user's columns: shares, LRs and nats per token, what is converted to them, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from analysis.table.columns import PLAIN, says
from analysis.table.table import usable
from sweep.study import InputError, numbers
from sweep.study.tables.cells import number_of, shown, text_of
from sweep.study.tables.table_file import TableFile

IMPOSSIBLE = math.log(1e6)  # nats: more than a uniform guess among a million tokens costs
DOUBTFUL_LR = 0.1  # a thousand times what AdamW takes: negative logarithms, or multiples of 1e-5
DOUBTFUL = 7.0  # nats: not far from a model that has learned nothing
Sources = Mapping[str, str]


def in_our_units(file: TableFile, sources: Sources) -> TableFile:
    """The file with percent as shares and perplexities as losses, where it says that they are.

    Raises InputError for logarithms of LRs, and for a column that is percent by its name and not by its values.
    """
    if "lr" in sources and says(sources["lr"], "lr"):
        name = shown(sources["lr"])
        raise InputError(f"{file.path}: the column {name!r} is a logarithm: write the LR itself, such as 1e-5")
    if "almr" in sources and _in_percent(file, sources["almr"]):
        told = f"column {shown(sources['almr'])!r} is in percent: divided by 100"
        file = _changed(file, sources["almr"], lambda cell: number_of(text_of(cell).rstrip("% ")) / 100, told)
    for name in PLAIN:
        if name in sources and says(sources[name], name):
            told = f"column {shown(sources[name])!r} is a perplexity: its natural logarithm is the loss"
            file = _changed(file, sources[name], _loss_of, told)
    return file


def _in_percent(file: TableFile, column: str) -> bool:
    """Whether all of a column is in percent, and says so. Raises InputError where its name says so, not its values."""
    texts = [text for cell in file.column(column) if (text := text_of(cell))]
    if texts and all(text.endswith("%") for text in texts):
        return True
    if not says(column, "almr"):
        return False
    known = [number for text in texts if math.isfinite(number := number_of(text.rstrip("% ")))]
    if known and max(known) <= 1:
        raise InputError(
            f"{file.path}: the column {shown(column)!r} says percent, but no value is above 1: rename it to almr if "
            f"these are shares, or write % in each cell"
        )
    return True


def _changed(file: TableFile, column: str, change: Callable[[Any], float], told: str) -> TableFile:
    """The file with `change` of each number of a column, and a note of it; other cells stay."""
    rows = {n: row | ({} if math.isnan(new := change(row[column])) else {column: new}) for n, row in file.rows.items()}
    return replace(file, rows=rows, notes=(*file.notes, told))


def _loss_of(perplexity: Any) -> float:
    value = number_of(perplexity)
    return math.log(value) if value > 0 else math.nan


def names(sources: Sources) -> dict[str, str]:
    """How messages name our columns: as the file does, unless values were converted by what the name says."""
    logarithms = {name: f"ln {theirs}" for name, theirs in sources.items() if name in PLAIN and says(theirs, name)}
    shares = {name: name for name, theirs in sources.items() if name == "almr" and says(theirs, name)}
    return dict(sources) | logarithms | shares


def hints(file: TableFile, sources: Sources) -> dict[str, str]:
    """What to do where a value of a column cannot be, by our name of the column."""
    found = {}
    if "almr" in sources:
        largest = max((n for n in map(number_of, file.column(sources["almr"])) if math.isfinite(n)), default=0.0)
        if any(text_of(cell).endswith("%") for cell in file.column(sources["almr"])):
            found["almr"] = " (write every ALMR as a share, such as 0.3, or every one with %)"
        elif largest <= 100:
            found["almr"] = " (in percent? divide by 100)"
        else:
            found["almr"] = " (write the additional language's share of tokens)"
    if "lr" in sources and all(not number_of(cell) > 0 for cell in file.column(sources["lr"])):
        found["lr"] = " (a logarithm? write the LR itself, such as 1e-5)"
    return found


def doubts(file: TableFile, sources: Sources, table: pd.DataFrame) -> Iterator[str]:
    """LRs and losses that are hardly ones, a note each. Raises InputError for losses that cannot be."""
    lowest_lr = usable(table)["lr"].min()
    if lowest_lr >= DOUBTFUL_LR:
        column, least = shown(sources["lr"]), numbers.lr(float(lowest_lr))
        yield f"the lowest LR of column {column!r} is {least}: if it is in a unit, write the LR itself, such as 1e-5"
    for name in PLAIN:
        losses = usable(table)[name].dropna() if name in table and name in sources else pd.Series(dtype=float)
        if not len(losses) or losses.min() <= DOUBTFUL:
            continue
        column = shown(sources[name])
        lowest = f"the lowest of column {column!r} is {numbers.number(float(losses.min()), 2)} nats per token"
        fix = "name the column ppl if these are perplexities, else give means over tokens in nats"
        if losses.min() > IMPOSSIBLE:
            raise InputError(f"{file.path}: {lowest}, more than a guess among a million tokens: {fix}")
        yield f"{lowest}, near that of an untrained model: {fix}"
