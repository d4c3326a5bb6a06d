"""A fit before its findings: the input of all refusals and warnings."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.decision.objectives import Goal
from analysis.fit_file.curve import CurvePoint, DivergenceEdge
from analysis.fit_file.fit_file import CrossValidation
from analysis.fit_file.scores import ScoresFile
from analysis.fit_file.winner import Region, Winner
from analysis.surfaces.optima import Lattice, Optima
from analysis.surfaces.surface import Surface
from sweep.study import Objective, Study


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fit before its findings. `table` has all rows, used or not. `study` is None for a table that is not of a run,
    `scores` where no benchmark was run, `region` where there is none."""

    table: pd.DataFrame
    objective: Objective
    study: Study | None
    goal: Goal
    surfaces: dict[str, Surface]
    lattice: Lattice
    optima: Optima
    winner: Winner
    region: Region | None
    curve: list[CurvePoint]
    edge: DivergenceEdge
    checks: dict[str, CrossValidation]
    scores: ScoresFile | None = None
