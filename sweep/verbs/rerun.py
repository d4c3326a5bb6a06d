"""The command that resumes a run, and what to change in its study to run the trials that a fit suggests."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sweep.store.run import Run
from sweep.study import Study, numbers
from sweep.study.sections.grid import LrRange
from sweep.trials.progress import RunProgress
from sweep.verbs.options import RUNS

if TYPE_CHECKING:
    from analysis.fit.fit import Fit

IN_A_TABLE = "to use the suggested trials: run them with your trainer, add their rows to the table, then fit it again"
SAME = 5e-3  # suggestions are rounded to three digits


class Rerun(NamedTuple):
    """The study file of a run, the command that runs it, and its number of trials `left`.

    `first`: what has to be done before; usually empty.
    """

    study: str
    command: str
    first: str = ""
    left: int = 0


def of(run: Run, given: str | None = None, address: str | None = None) -> Rerun:
    """How to resume a run: with the study file that the user gave, else with its copy in the run directory.

    A run is found by its study's name: a run directory that was renamed has to get that name back.
    """
    here, (runs, _, folder), name = Path.cwd(), run.address.rpartition("/"), run.study().name
    path = run.files.study if run.mirror else Path(runs, name, run.files.study.name)
    copy = str(path.relative_to(here) if path.is_relative_to(here) else path)
    study = given if given and Path(given).is_file() else copy
    elsewhere = run.mirror is not None or Path(runs) != Path(RUNS).resolve()
    options = [*(["--runs", runs] if elsewhere else []), *(["--address", address] if address else [])]
    first = f"rename {run.address} to {name}, the name of its study, then: " if folder != name else ""
    left = RunProgress.of(run.study(), run).remaining
    return Rerun(study=study, command=shlex.join(["almr", "run", study, *options]), first=first, left=left)


def suggestion(fitted: Fit, again: Rerun | None) -> list[str]:
    """How to run the trials that are left, else those that the refusals, else the warnings, suggest: one line or none.

    `again` is None for a user's own table.
    """
    if again and again.left:
        return [f"to run the trials that are left ({again.left}): {again.first}{again.command}"]
    findings = fitted.file.refusals or fitted.file.warnings
    points = {(trial.almr, trial.lr) for finding in findings for trial in finding.next}
    if not points or fitted.study is None or again is None:
        return [IN_A_TABLE] if points else []
    study, almrs, lrs = fitted.study, *_beyond(fitted.study, points)
    changes = list(_changes(study, almrs, lrs, _repeats(fitted, points)))
    edit = f"{' and '.join(changes)} in {again.study}, then: " if changes else ""
    trials = "more trials, which the search chooses" if study.search.proposes else "the suggested trials"
    return [f"to run {trials}: {again.first}{edit}{again.command}"]


def _beyond(study: Study, points: set[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """The ALMRs and the LRs that the grid lacks: of a search only those that it cannot propose."""
    grid, search = study.grid, study.search
    almrs, lrs = _new((a for a, _ in points), grid.almr), _new((r for _, r in points), grid.lrs)
    exhausted = search.space == "cells" and not search.bounds and (search.trials or 0) >= len(grid.points)
    if not search.proposes or exhausted:
        return almrs, lrs
    almr_ends, lr_ends = search.reach(grid).values()
    return _outside(almrs, almr_ends), _outside(lrs, lr_ends)


def _new(values: Iterable[float], known: Iterable[float]) -> list[float]:
    known = list(known)
    return sorted({x for x in values if not any(math.isclose(x, y, rel_tol=SAME) for y in known)})


def _outside(values: list[float], ends: tuple[float, float]) -> list[float]:
    return [x for x in values if not ends[0] <= x <= ends[1]]


def _repeats(fitted: Fit, points: set[tuple[float, float]]) -> bool:
    """Whether a suggested trial has an outcome already, so that another seed is meant."""
    table = fitted.table[fitted.table["status"].isin(["complete", "diverged"])]
    return bool(points & set(zip(table["almr"], table["lr"], strict=True)))


def _changes(study: Study, almrs: list[float], lrs: list[float], repeats: bool) -> Iterator[str]:
    grid, search = study.grid, study.search
    cells = len(grid.almr) * len(grid.lrs)
    more = (len(grid.almr) + len(almrs)) * (len(grid.lrs) + len(lrs)) - cells
    if more:
        added = " and ".join(filter(None, [_list("ALMR", almrs, numbers.almr), _list("LR", lrs, numbers.lr)]))
        as_list = " (write grid.lr as a list)" if lrs and isinstance(grid.lr, LrRange) else ""
        count = "" if search.proposes else f" ({more * len(grid.seeds)} more trials)"
        yield f"add {added} to grid{as_list}{count}"
    if search.proposes:
        yield f"raise search.trials above {search.trials}"
    elif not more and repeats:
        yield f"add a seed to grid.seeds ({cells} more trials)"


def _list(name: str, values: list[float], write: Callable[[float], str]) -> str:
    return f"{name} {', '.join(map(write, values))}" if values else ""
