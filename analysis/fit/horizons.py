"""Shorter token budgets measured by the same trials (WSD horizons): the table and the winner at each."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pandas as pd

from analysis.decision.case import Case
from analysis.decision.findings import refusals
from analysis.fit_file.findings import Finding
from analysis.fit_file.fit_file import HorizonFit
from analysis.table import table as tables
from sweep.study import LANGUAGES, InputError, Status, Study

AT = re.compile(r"(loss|bits_per_byte|reason)[\w.-]*@(\d+)")  # the columns that analysis.table gives a horizon
UNMEASURED = "not measured at this horizon"


def budgets(table: pd.DataFrame, study: Study | None = None) -> list[int]:
    """The horizons, ascending: those that the study's own trials were measured at, and those that it asks for."""
    ours = table[~table["excluded"].isin(tables.FOREIGN)]
    columns = ((AT.fullmatch(str(name)), ours[name].notna().any()) for name in ours)
    measured = {int(found[2]) for found, filled in columns if found and filled}
    return sorted(measured.union(study.training.horizons if study else ()))


def at(table: pd.DataFrame, tokens: int) -> pd.DataFrame:
    """The table of the same trials at a budget of `tokens`: losses, status, passes over the corpora and `excluded`.

    A trial that diverged after it branched to this horizon is complete here. Failed trials, and those that the study
    does not ask for, stay excluded.
    """
    of_run = [str(name) for name in table if "@" not in str(name)]
    losses = [name for name in of_run if name.startswith("loss_")]  # of languages and of sources
    columns = {name: table.get(f"{name}@{tokens}") for name in (*losses, "reason")}
    new = {name: pd.Series(None, table.index, object) if c is None else c for name, c in columns.items()}
    passes = {name: table[name] * tokens / table["tokens"] for name in of_run if name.startswith("epochs_")}
    outcomes = pd.DataFrame([_outcome(row) for row in pd.DataFrame(new).to_dict("records")], table.index, dtype=object)
    lost = (table["status"] == Status.FAILED) | table["excluded"].isin(tables.FOREIGN)
    outcomes = outcomes.where(~lost, table[["status", "excluded"]])
    rest = [name for name in of_run if not name.startswith("score_")]
    return table[rest].assign(**(new | passes), tokens=tokens, status=outcomes["status"], excluded=outcomes["excluded"])


def _outcome(row: dict[Any, Any]) -> dict[str, str | None]:
    """A trial's `status` and `excluded` at a horizon, by its losses and the reason of a divergence there."""
    if not pd.isna(row["reason"]):
        return {"status": Status.DIVERGED.value, "excluded": f"{Status.DIVERGED}: {row['reason']}"}
    lacking = any(pd.isna(row[f"loss_{language}"]) for language in LANGUAGES)
    return {"status": Status.COMPLETE.value, "excluded": UNMEASURED if lacking else None}


def find(
    full: Case, fit: Callable[[pd.DataFrame], Case], refused: list[Finding]
) -> tuple[tuple[HorizonFit, ...], list[Finding]]:
    """The winner at each horizon and, last, at the full budget; and a warning for each horizon with too few losses.

    `fit` fits a table; `refused` are the refusals of the full budget's fit. Both are empty where there are no horizons.
    """
    found, warnings = [], []
    for tokens in budgets(full.table, full.study):
        try:
            case = fit(at(full.table, tokens))
        except InputError as error:
            warnings.append(Finding(code="horizon", message=f"no winner at {tokens:,} tokens: {error}"))
        else:
            found.append(_fit(tokens, case, refusals.find(case)))
    if found:
        tokens = full.study.training.tokens if full.study else tables.usable(full.table)["tokens"].max()
        found.append(_fit(int(tokens), full, refused))
    return tuple(found), warnings


def _fit(tokens: int, case: Case, refused: list[Finding]) -> HorizonFit:
    codes = dict.fromkeys(finding.code for finding in refused)
    return HorizonFit(tokens=tokens, winner=case.winner, refusals=tuple(codes))
