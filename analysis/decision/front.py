"""The Pareto front: the winner as a function of the additional language's weight."""

from __future__ import annotations

import numpy as np

from analysis.decision.objectives import WeightedGoal
from analysis.decision.winner import choose
from analysis.fit_file.curve import FrontPoint
from analysis.surfaces.optima import Lattice
from sweep.study import LANGUAGES

WEIGHTS = np.linspace(0, 1, 21)


def front(lattice: Lattice, level: float) -> list[FrontPoint]:
    """The winner at each of WEIGHTS, from 0 (original language alone) to 1; empty where a language was not measured."""
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
