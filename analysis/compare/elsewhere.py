"""What the winner of one run would cost on the surface of another."""

from __future__ import annotations

import math

from analysis.compare.fitted import ComparedFit
from analysis.compare.result import WinnerElsewhere
from analysis.surfaces.kernels import Array
from analysis.table.table import HYPERPARAMETERS
from analysis.transfer.cost import selection_regret
from sweep.study import numbers
from sweep.study.sections.transfer import Confirmation

TOLERANCE = Confirmation().tolerance  # nats: what a confirmation allows a setting to lose
ROUNDING = 1e-6  # relative


def of_winner(
    winner_of: ComparedFit, on: ComparedFit, marks: tuple[str, str], level: float, tolerance: float = TOLERANCE
) -> WinnerElsewhere:
    """`marks`: of the run whose winner it is, and of the other."""
    found = WinnerElsewhere(winner_of=marks[0], on=marks[1])
    winner = winner_of.file.winner
    if why := unknown(winner.almr, winner.lr, on):
        return found.model_copy(update={"why": why})
    almr = winner.almr if on.varied("almr") else float(on.optima.almr[0])
    cost = selection_regret(on.optima, almr, winner.lr, level)
    if cost is None:
        return found.model_copy(update={"why": f"the guards of {on.name} forbid it"})
    carries = True if cost.interval.high <= tolerance else False if cost.interval.low > tolerance else None
    return found.model_copy(update={"cost": cost, "carries": carries})


def unknown(almr: float, lr: float, on: ComparedFit) -> str:
    """Why a setting has no loss on a run's surface: it is outside of what was tried there. Empty where it has one."""
    stated = [not math.isnan(one) for one in (almr, on.file.winner.almr)]
    if stated[0] != stated[1]:
        return (
            f"{on.name} does not state its ALMR" if stated[0] else f"its ALMR is not stated, and {on.name} has several"
        )
    for name, value in zip(HYPERPARAMETERS, (almr, lr), strict=True):
        axis: Array = getattr(on.optima, name)
        if not math.isnan(value) and not _inside(value, axis):
            return f"{numbers.point(almr, lr)} is outside of what {on.name} tried: {_tried(name, axis)}"
    return ""


def _inside(value: float, axis: Array) -> bool:
    return bool(axis[0] * (1 - ROUNDING) - ROUNDING**2 <= value <= axis[-1] * (1 + ROUNDING))


def _tried(name: str, axis: Array) -> str:
    write = numbers.almr if name == "almr" else numbers.lr
    ends = dict.fromkeys(write(value) for value in (axis[0], axis[-1]))
    return f"{name.upper()} {' to '.join(ends)}"
