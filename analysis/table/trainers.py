"""Which trainers made the losses of a table: the columns `trainer` and `trainer_version`; a fit takes those of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from analysis.table.table import diverged, usable
from sweep.study import InputError
from sweep.study.record import trainer_text
from sweep.study.tables.cells import shown, text_of


def counts(table: pd.DataFrame) -> dict[tuple[str, str], int]:
    """(trainer, version) -> how many trials that the fit uses it trained, the most first; empty texts: not stated."""
    used = pd.concat([usable(table), diverged(table)])
    cells = [used[name] if name in used else [None] * len(used) for name in ("trainer", "trainer_version")]
    pairs = zip(*([text_of(cell) for cell in column] for column in cells), strict=True)
    return dict(Counter(pairs).most_common())


def names(table: pd.DataFrame) -> dict[str, int]:
    """The stated trainers, and how many trials that the fit uses each trained, the most first."""
    found: Counter[str] = Counter()
    for (name, _), number in counts(table).items():
        found[name] += number
    return {name: number for name, number in found.most_common() if name}


def by_version(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """The trainers that state versions, and how many trials that the fit uses each version trained."""
    found: dict[str, dict[str, int]] = {}
    for (name, version), number in counts(table).items():
        if name and version:
            found.setdefault(name, {})[trainer_text(name, version)] = number
    return found


def listed(numbers: Mapping[str, int]) -> str:
    """Names with their numbers of trials, such as "native: 9, megatron: 3"."""
    return ", ".join(f"{shown(name)}: {number}" for name, number in numbers.items())


def refuse_several(table: pd.DataFrame, name: str, fix: str) -> None:
    """Raises InputError where two trainers made the losses of a table, `name`; `fix` may have a place for `{trainer}`.

    Every difference between trainers moves the optimum: a surface through the losses of two is that of neither.
    """
    found = names(table)
    if len(found) > 1:
        most = shown(next(iter(found)))
        raise InputError(
            f"{name}: the trials are of {len(found)} trainers ({listed(found)}), and a fit takes those of one: "
            f"{fix.format(trainer=most)}"
        )
