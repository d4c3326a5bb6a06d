"""One hyper-parameter fitted alone: a table whose trials all have one ALMR, or one that does not state it, or one LR.

The surface is the same. Along the other hyper-parameter it has one value, so that its length scale has no effect and
its part of the trend is constant.
"""

from __future__ import annotations

import math

import pandas as pd

from analysis.decision.case import Alone
from analysis.fit_file.curve import CurvePoint
from analysis.fit_file.findings import Finding
from analysis.fit_file.fit_file import FitFile, HorizonFit
from analysis.fit_file.winner import Interval, Winner
from analysis.table.table import HYPERPARAMETERS

ANY = 0.5  # the ALMR of trials whose ALMR is not stated, inside the fit
UNKNOWN = Interval(low=math.nan, high=math.nan)
ROUNDING = 5e-3  # suggestions have three digits


def with_some_almr(table: pd.DataFrame) -> pd.DataFrame:
    """The table with an ALMR, where no row has one."""
    return table.assign(almr=ANY) if "almr" not in table or table["almr"].isna().all() else table


def of(table: pd.DataFrame, filled: pd.DataFrame) -> Alone | None:
    """What is fitted alone; None for a surface. `filled`: the table after with_some_almr. All rows count: where those
    of other ALMRs are lost, a surface was wanted.
    """
    values = [len({f"{value:.6g}" for value in filled[name].dropna()}) for name in HYPERPARAMETERS]
    if 1 not in values or max(values) == 1:
        return None
    name = HYPERPARAMETERS[1 - values.index(1)]
    return Alone(name, stated=name == "almr" or filled is table)


def reduced(file: FitFile, alone: Alone) -> FitFile:
    """The file without curves along the other hyper-parameter, and without suggestions of other values of it."""
    file = file.model_copy(
        update={
            "alone": alone.name,
            "refusals": [_reduced(one, alone, file.winner) for one in file.refusals],
            "warnings": [_reduced(one, alone, file.winner) for one in file.warnings],
            "curve": file.curve if alone.name == "lr" else [],
            "best_almr": file.best_almr if alone.name == "almr" else [],
        }
    )
    return file if alone.stated else _without_almr(file)


def _reduced(finding: Finding, alone: Alone, winner: Winner) -> Finding:
    at = getattr(winner, alone.other)
    kept = [trial for trial in finding.next if math.isclose(getattr(trial, alone.other), at, rel_tol=ROUNDING)]
    return finding.model_copy(update={"next": tuple(kept)})


def _without_almr(file: FitFile) -> FitFile:
    unknown: dict[str, object] = {"almr": math.nan}
    both = unknown | {"almr_interval": UNKNOWN}

    def findings(found: list[Finding]) -> list[Finding]:
        return [
            one.model_copy(update={"next": tuple(trial.model_copy(update=unknown) for trial in one.next)})
            for one in found
        ]

    def horizon(one: HorizonFit) -> HorizonFit:
        return one.model_copy(update={"winner": one.winner.model_copy(update=both)})

    curve: list[CurvePoint] = [point.model_copy(update=unknown) for point in file.curve]
    return file.model_copy(
        update={
            "winner": file.winner.model_copy(update=both),
            "curve": curve,
            "front": [point.model_copy(update=both) for point in file.front],
            "horizons": tuple(horizon(one) for one in file.horizons),
            "refusals": findings(file.refusals),
            "warnings": findings(file.warnings),
        }
    )
