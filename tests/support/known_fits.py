"""Fits whose surfaces and posterior are known: nothing is fitted, each draw is a bowl of its own."""

from __future__ import annotations

import numpy as np
from known_surfaces import ALMRS, LRS, Known, grid, measure

from analysis.compare.fitted import ComparedFit
from analysis.decision.objectives import Goal, WeightedGoal
from analysis.decision.winner import choose
from analysis.fit_file.curve import DivergenceEdge
from analysis.fit_file.fit_file import FitFile, TrialCounts
from analysis.surfaces.optima import Lattice

EQUAL = WeightedGoal({"original": 0.5, "additional": 0.5})
DRAWS = 150


def known_fit(
    name: str,
    stream: int = 0,
    sd: tuple[float, float] = (0.015, 0.05),
    goal: Goal = EQUAL,
    almrs: tuple[float, float] = ALMRS,
    alone: str | None = None,
    **known: float,
) -> ComparedFit:
    """A fit of `Known(**known)`. `sd`: of the draws' optima in ALMR and ln LR, around the true one moved by one such
    error; `almrs`: the tried range; `alone`: the hyper-parameter of which there are several values.
    """
    random, true = np.random.default_rng(stream), Known(**known)
    error = random.normal(0, sd, (2,)) if stream else np.zeros(2)
    mean = Known(almr=true.almr + error[0], lr=true.lr * np.exp(error[1]))
    draws = [Known(almr=mean.almr + a, lr=mean.lr * np.exp(r)) for a, r in random.normal(0, sd, (DRAWS, 2))]
    lattice = _lattice(mean, draws, almrs, alone)
    points = [(a, lr) for a, lr in grid(6, 6) if almrs[0] <= a <= almrs[1]]
    table = measure(true, points, seed=stream).assign(trial_id="t", base_loss_original=3.9)
    optima = goal.optima(lattice)
    winner = choose(optima, lattice, 0.9)
    file = _file(name, goal, winner, len(table), alone)
    return ComparedFit(
        table=table, file=file, name=name, address=name, goal=goal, lattice=lattice, optima=optima, surfaces={}
    )


def _lattice(mean: Known, draws: list[Known], almrs: tuple[float, float], alone: str | None) -> Lattice:
    a = np.array([0.5]) if alone == "lr" else np.linspace(*almrs, 25)
    r = np.array([1e-4]) if alone == "almr" else np.geomspace(*LRS, 41)
    every = np.meshgrid(a, r, indexing="ij")
    drawn = [one.losses(*every) for one in draws]
    means = mean.losses(*every)
    return Lattice(
        a,
        r,
        means,
        {name: np.full(loss.shape, 0.002) for name, loss in means.items()},
        {name: np.stack([one[name] for one in drawn]) for name in means},
    )


def _file(name, goal, winner, trials, alone) -> FitFile:
    counts = TrialCounts(complete=trials, diverged=0, failed=0, excluded=0)
    names = ("original", "additional")
    return FitFile(
        study=name,
        weights=goal.weights,
        guard=None,
        winner=winner,
        region=None,
        curve=[],
        best_almr=[],
        coupling=None,
        front=[],
        divergence=DivergenceEdge(trials=0, lr=1e-3, factor=10),
        forms=dict.fromkeys(names, "ALMR"),
        noise=dict.fromkeys(names, 0.003),
        cross_validation={},
        trials=counts,
        refusals=[],
        warnings=[],
        transfer=None,
        alone=alone,
    )
