"""What a fit has to say against itself. A refusal stops the export; a warning goes with it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.decision.curve import CurvePoint
from analysis.decision.edge import DivergenceEdge
from analysis.decision.objectives import Goal
from analysis.decision.winner import Region, Winner
from analysis.scores.file import ScoresFile
from analysis.surfaces.checks import CrossValidation
from analysis.surfaces.optima import Lattice, Optima
from analysis.surfaces.surface import Surface
from sweep.study import Objective, Study
from sweep.trial import Schema


class NextTrial(Schema):
    """A trial worth running: it would settle the finding that names it."""

    almr: float
    lr: float


class Finding(Schema):
    """`code` is one word for scripts, `message` a sentence for people, `next` what to run next."""

    code: str
    message: str
    next: tuple[NextTrial, ...] = ()

    @property
    def text(self) -> str:
        """The message, with the trials to run next."""
        if not self.next:
            return self.message
        return f"{self.message}; run next: {', '.join(f'ALMR {t.almr:.3g} LR {t.lr:.3g}' for t in self.next)}"


@dataclass(frozen=True)
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
