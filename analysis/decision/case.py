"""Everything that is known when a fit is judged."""

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
from sweep.study.sections.objective import Objective
from sweep.study.study import Study


@dataclass(frozen=True, kw_only=True)
class Case:
    """All that is known when a fit is judged. `table` holds all rows; `study` is None for a table of the user's own,
    `scores` where nothing was scored."""

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
