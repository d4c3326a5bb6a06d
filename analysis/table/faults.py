"""Bad rows in one line, however many they are: their number, their faults and the first of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

MOST_KINDS = MOST_ROWS = 3  # of faults, and of row numbers, in a message
VALUE = re.compile(r"'.*?'|[-+]?\d[-+.\de]*")  # in the text of a fault


def count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def numbered(unit: str, numbers: Sequence[int], most: int = MOST_ROWS) -> str:
    """Row numbers such as "line 3", "lines 3, 8, 13 and 22 more"."""
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return f"{unit}{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers[:most]))}{more}"


def summary(unit: str, faults: pd.Series) -> str:
    """The faults by row number, those of one kind together, the most frequent kinds first."""
    kinds = [kind for _, kind in faults.groupby(faults.map(lambda fault: VALUE.sub("", fault)), sort=False)]
    kinds.sort(key=len, reverse=True)
    most = MOST_ROWS if len(kinds) == 1 else 1
    told = [f"{numbered(unit, list(kind.index), most)}: {kind.iloc[0]}" for kind in kinds[:MOST_KINDS]]
    others = sum(map(len, kinds[MOST_KINDS:]))
    return "; ".join([*told, *([f"and {count(others, 'row', 'rows')} with other faults"] if others else [])])


def complaint(unit: str, faults: pd.Series, rows: int) -> str:
    """What follows the file's name where it is refused; `rows`: how many it has."""
    if len(faults) == 1:
        return f", {summary(unit, faults)}; correct it, or pass --drop-bad-rows to leave it out"
    told = f": {len(faults)} of {rows} rows cannot be used: {summary(unit, faults)}"
    return f"{told}; correct them, or pass --drop-bad-rows to leave them out"
