"""How much an LR off by a factor of two costs, and how far the launch's LR is from where training diverges."""

from __future__ import annotations

import math

import numpy as np

from analysis.decision.case import Case
from analysis.decision.findings.agreement import minimised
from analysis.decision.winner import interval
from analysis.fit_file.transfer import Cost, EdgeAfter, LrCost
from analysis.surfaces.kernels import Array
from analysis.transfer.sizes import ScaleStep
from sweep.study.sections.transfer import TransferRule

ON_SMALL = "the small model's surface at its winner, in the minimised loss: that a large model's is as sharp is assumed"


def of_lr(case: Case) -> LrCost:
    weights = minimised(case)
    row = int(np.abs(case.lattice.almr - case.winner.almr).argmin())
    mean = sum(share * case.lattice.mean[name][row] for name, share in weights.items())
    draws = sum(share * case.lattice.draws[name][:, row] for name, share in weights.items())
    halves = (_cost(case, np.asarray(mean), np.asarray(draws), factor) for factor in (0.5, 2.0))
    return LrCost(**dict(zip(("half", "double"), halves, strict=True)), assumption=ON_SMALL)


def _cost(case: Case, mean: Array, draws: Array, factor: float) -> Cost | None:
    """`mean` (L,) and `draws` (draws, L) are the minimised loss along the winner's ALMR."""
    axis, at = np.log(case.lattice.lr), math.log(case.winner.lr)
    there = at + math.log(factor)
    if not axis[0] <= there <= axis[-1]:
        return None

    def between(line: Array) -> float:
        return float(np.interp(there, axis, line) - np.interp(at, axis, line))

    found = interval(np.array([between(line) for line in draws]), case.winner.level)
    nats = between(mean)
    found = found.model_copy(update={"low": min(found.low, nats), "high": max(found.high, nats)})
    return Cost(nats=nats, interval=found)


def edge_after(case: Case, lr: float, step: ScaleStep, rule: TransferRule) -> EdgeAfter:
    """The sweep's own edge x (parameters' ratio) ** `edge_exponent`."""
    assumption = (
        f"the LR at which training diverges falls as parameters ** {rule.edge_exponent:.3g} (launch.transfer."
        f"edge_exponent; -1/3 is 1 / width where width, depth and parameters grow together, Yang et al., "
        f"arXiv 2203.03466); an assumption, not measured here"
    )
    edge, ratio = case.edge, step.size_ratio
    at = None if edge.lr is None or ratio is None else edge.lr * ratio**rule.edge_exponent
    return EdgeAfter(lr=at, factor=None if at is None else at / lr, measured=edge.trials > 0, assumption=assumption)
