"""Settings that were varied beside ALMR and LR: the fit does not know them, and would take their trials for repeats."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from analysis.table.columns import read_name
from analysis.table.table import HYPERPARAMETERS, MINIMUM_ALONE
from sweep.study import InputError
from sweep.study.tables.cells import listing, number_of, shown, text_of
from sweep.study.tables.table_file import TableFile

Found = Mapping[str, str]  # standard name -> the file's column
SETTINGS = re.compile(r"(params?|config|hparams|hyperparameters)[\W_]", re.IGNORECASE)  # how trackers begin their names
MOST = 3  # columns in a message; rows that may rise by chance
KNOWN = {"wd", "weightdecay", "batchsize", "globalbatchsize", "trainbatchsize", "warmup", "warmupsteps", "warmupratio"}
KNOWN |= {"dropout", "beta1", "beta2", "adambeta1", "adambeta2", "momentum", "optimizer", "lrscheduler", "scheduler"}
LENGTHS = {f"{before}{unit}{s}" for before in ("", "global", "max", "train", "training", "num", "total", "optimizer")
           for unit in ("step", "epoch", "iteration", "iter") for s in ("", "s")}  # fmt: skip
LENGTHS |= {f"{before}tokens" for before in ("train", "num", "total", "max")} | {"tokensseen", "tokenbudget"}
COUNTERS = {"number", "index", "id", "trial", "trialnumber", "trialid", "run", "row", "unnamed0"}  # never a setting


def find(file: TableFile, found: Found) -> tuple[list[str], list[str]]:
    """Notes on how the table is read, and warnings of settings that vary, a line each.

    Raises InputError where trials have rows of several lengths, as a history has, and where no column holds the ALMR
    and another setting varies: trials of several ALMRs would be taken for repeats.
    """
    used = {theirs for name, theirs in found.items() if name != "steps"}  # kept, and no part of a trial's key
    names = [name for name in file.names if name not in used]
    if "almr" in found:
        return [], list(_unknown(file, found, names))
    lrs = [number_of(cell) for cell in file.column(found["lr"])]
    for name in names:
        if crosses(list(map(number_of, file.column(name))), lrs):
            own, value = shown(name), shown(text_of(file.column(name)[0]))
            _refuse_lengths(file, name)
            raise InputError(
                f"{file.path}: no column holds the ALMR, and {own!r} has several values at one LR: name it, --columns "
                f"almr={own}, or seed={own} where it counts repeats, or keep one value: --where {own}={value}"
            )
    varied = [name for name in names if _varies(file, name) and not _counts(file, name)]
    rest = [name for name in varied if SETTINGS.match(name)] or varied  # trackers say which columns are settings
    where = f"; if {' or '.join(map(shown, rest[:MOST]))} is the ALMR, pass --columns almr=NAME" if rest else ""
    return [f"no column holds the ALMR: the fit is of the LR alone{where}"], list(_unknown(file, found, names))


def _unknown(file: TableFile, found: Found, names: list[str]) -> Iterator[str]:
    """A warning of the settings that vary. Raises InputError where one is a length of training."""
    points = _points(file, found)
    crossing = [name for name in names if _repeated(file, name, points)]
    for name in crossing:
        _refuse_lengths(file, name)
    several = dict.fromkeys([*crossing, *(n for n in names if _is_setting(n) and _varies(file, n))])
    if several:
        first = next(iter(several))
        value, rows = Counter(map(text_of, file.column(first))).most_common(1)[0]
        one = f"keep one with --where {shown(first)}={shown(value)}" if rows >= MINIMUM_ALONE else "run trials with one"
        yield f"{listing(several)}: several values, which the fit does not know: their effect counts as noise; {one}"


def _refuse_lengths(file: TableFile, name: str) -> None:
    """Raises InputError where a column that varies is a length of training."""
    if read_name(name, "tokens").key in LENGTHS:
        own, values = shown(name), sorted({number_of(cell) for cell in file.column(name)} - {math.nan})
        last = next(text for cell in file.column(name) if number_of(text := text_of(cell)) == values[-1])
        raise InputError(
            f"{file.path}: rows of one ALMR and LR differ in {own!r}, so that they are not repeats: keep one row of "
            f"each trial, its last: --where {own}={shown(last)}"
        )


def _points(file: TableFile, found: Found) -> list[tuple[float, ...]]:
    """ALMR, LR and seed of each row, as far as there are columns of them."""
    names = [found[name] for name in (*HYPERPARAMETERS, "seed") if name in found]
    return list(zip(*(map(number_of, file.column(name)) for name in names), strict=True))


def _repeated(file: TableFile, name: str, points: list[tuple[float, ...]]) -> bool:
    """Whether a column has several values at one point, and each of them at several points."""
    at: dict[Any, set[tuple[float, ...]]] = {}
    values = [number if (number := number_of(cell)) == number else text_of(cell) for cell in file.column(name)]
    if len(set(values)) * 2 > len(values):
        return False
    for value, point in zip(values, points, strict=True):
        if value != "":
            at.setdefault(value, set()).add(point)
    several = len(at) > 1 and all(len(found) > 1 for found in at.values())
    return several and sum(map(len, at.values())) > len(set().union(*at.values()))


def crosses(values: list[float], lrs: list[float]) -> bool:
    """Whether values are those of a setting that was varied beside the LR: several, each of them at several LRs."""
    at: dict[float, set[float]] = {}
    for value, lr in zip(values, lrs, strict=True):
        if math.isfinite(value):
            at.setdefault(value, set()).add(lr)
    return len(at) > 1 and all(len(found) > 1 for found in at.values())


def _is_setting(name: str) -> bool:
    return SETTINGS.match(name) is not None or read_name(name, "").key in KNOWN


def _counts(file: TableFile, name: str) -> bool:
    """Whether a column numbers the rows, such as Optuna's `number`: by its name, or as whole numbers that rise."""
    numbers = [number_of(cell) for cell in file.column(name)]
    whole = len(numbers) > MOST and all(number.is_integer() for number in numbers)
    return read_name(name, "").key in COUNTERS or (whole and all(a < b for a, b in pairwise(numbers)))


def _varies(file: TableFile, name: str) -> bool:
    return len({number for cell in file.column(name) if math.isfinite(number := number_of(cell))}) > 1
