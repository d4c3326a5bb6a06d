"""A fit before its findings: the input of all refusals and warnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from analysis.decision.objectives import Goal
from analysis.fit_file.curve import CurvePoint, DivergenceEdge
from analysis.fit_file.fit_file import CrossValidation
from analysis.fit_file.scores import ScoresFile
from analysis.fit_file.winner import Region, Winner
from analysis.surfaces.optima import Lattice, Optima
from analysis.surfaces.surface import Surface
from sweep.study import Objective, Study, numbers


class Alone(NamedTuple):
    """A hyper-parameter, "almr" or "lr", that is fitted alone; `stated`: the one value of the other is known."""

    name: str
    stated: bool

    @property
    def other(self) -> str:
        return "lr" if self.name == "almr" else "almr"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fit before its findings. `table` has all rows, used or not. `study` is None for a table that is not of a run,
    `scores` where no benchmark was run, `region` where there is none, `alone` where ALMR and LR are both fitted."""

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
    alone: Alone | None = None

    def near(self, word: str, almr: float) -> str:
        """A place such as " at ALMR 0.30", to put into a sentence; empty where no ALMR is stated."""
        return f" {word} ALMR {numbers.almr(almr)}" if self.alone is None or self.alone.stated else ""
