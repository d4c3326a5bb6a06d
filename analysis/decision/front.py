"""The Pareto front: how the winner moves as weight goes from the original language to the additional one."""

from __future__ import annotations

import numpy as np

from analysis.decision.objectives import WeightedGoal
from analysis.decision.winner import choose
from analysis.fit_file.curve import FrontPoint
from analysis.surfaces.optima import Lattice
from sweep.study.fields import LANGUAGES

WEIGHTS = np.linspace(0, 1, 21)


def front(lattice: Lattice, level: float) -> list[FrontPoint]:
    """One point per weight, from the original language alone to the additional alone; empty without both languages."""
    if set(lattice.mean) != set(LANGUAGES):
        return []
    points = []
    for weight in WEIGHTS:
        goal = WeightedGoal({"original": float(1 - weight), "additional": float(weight)})
        winner = choose(goal.optima(lattice), lattice, level)
        points.append(
            FrontPoint(
                weight=round(float(weight), 3),
                losses={name: winner.losses[name].mean for name in LANGUAGES},
                **winner.model_dump(include={"almr", "almr_interval", "lr", "lr_interval", "at_edge"}),
            )
        )
    return points
