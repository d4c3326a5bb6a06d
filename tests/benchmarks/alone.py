"""The interval of the best LR, or ALMR, where that is fitted alone: how often it holds the truth.

    python tests/benchmarks/alone.py [--trials 5,8,12] [--repeats 100]

Each repeat draws a bowl whose minimum is known, inside the middle 60 % of the tried range, and measures it at evenly
spaced points: LRs over a factor of 128, in ln LR, or ALMRs from 0.1 to 0.9. Beside the product: a parabola by least
squares through all trials, with the interval of its vertex by the delta method, as a notebook would do.
"""

from __future__ import annotations

import argparse
import itertools
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.stats import norm

from analysis.fit.fit import fit_table

LEVEL, NOISE = 0.9, 0.004
HALF = {"lr": np.log(128) / 2, "almr": 0.4}
DEPTHS = {"lr": (0.01, 0.04), "almr": (0.25, 1.0)}  # nats per square of ln LR and of ALMR
CLIFF = 0.8  # over the best LR, losses rise as LR to this power


class Bowl(NamedTuple):
    name: str
    shape: str
    depth: float
    trials: int
    seed: int


def loss(v: np.ndarray, bowl: Bowl) -> np.ndarray:
    if bowl.shape == "parabola":
        return 2 + bowl.depth * v**2
    return 2 + bowl.depth * 2 * (np.exp(CLIFF * v) - 1 - CLIFF * v) / CLIFF**2


def judge(bowl: Bowl) -> dict[str, float | str]:
    kind = int(bowl.name == "lr"), int(bowl.shape == "cliff"), round(1000 * bowl.depth)
    random, half = np.random.default_rng([bowl.seed, bowl.trials, *kind]), HALF[bowl.name]
    v, best = np.linspace(-half, half, bowl.trials), float(random.uniform(-0.6, 0.6) * half)
    measured = loss(v - best, bowl) + NOISE * random.standard_normal(bowl.trials)
    table = {"almr": 0.5 + v, "lr": 1e-5} if bowl.name == "almr" else {"almr": 0.3, "lr": 1e-5 * np.exp(v)}
    winner = fit_table(pd.DataFrame(table | {"loss_total": measured})).winner
    ends = np.array([getattr(winner, f"{bowl.name}_interval").low, getattr(winner, f"{bowl.name}_interval").high])
    ends = ends - 0.5 if bowl.name == "almr" else np.log(ends / 1e-5)
    plain = parabola(v, measured)
    return bowl._asdict() | {
        "inside": float(ends[0] - 1e-9 <= best <= ends[1] + 1e-9),
        "width": float(np.ptp(ends)),
        "plain_inside": float(plain[0] <= best <= plain[1]),
        "plain_width": float(plain[1] - plain[0]),
    }


def parabola(v: np.ndarray, measured: np.ndarray) -> tuple[float, float]:
    """The interval of the vertex."""
    features = np.stack([v**2, v, np.ones_like(v)], axis=1)
    inverse = np.linalg.inv(features.T @ features)
    a, b, c = inverse @ features.T @ measured
    variance = np.sum((measured - features @ [a, b, c]) ** 2) / (len(v) - 3)
    slope = np.array([b / (2 * a**2), -1 / (2 * a), 0.0])
    half = float(norm.ppf((1 + LEVEL) / 2) * np.sqrt(variance * slope @ inverse @ slope))
    return -b / (2 * a) - half, -b / (2 * a) + half


def shown(rows: pd.DataFrame, repeats: int) -> Table:
    table = Table(title=f"{LEVEL:.0%} intervals, noise {NOISE} nats, {repeats} bowls a row")
    for head in ("alone", "shape", "depth", "trials", "inside", "median width", "parabola: inside", "median width"):
        table.add_column(head)
    for key, group in rows.groupby(["name", "shape", "depth", "trials"], sort=False):
        inside = [f"{group[name].mean():.0%}" for name in ("inside", "plain_inside")]
        width = [f"{group[name].median():.2f}" for name in ("width", "plain_width")]
        table.add_row(*map(str, key), inside[0], width[0], inside[1], width[1])
    for trials, group in rows.groupby("trials"):
        found = group.groupby("name")["inside"].mean()
        plain = group.groupby("name")["plain_inside"].mean()
        for name in found.index:
            table.add_row(name, "all", "", str(trials), f"{found[name]:.1%}", "", f"{plain[name]:.1%}", "")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", default="5,8,12")
    parser.add_argument("--repeats", type=int, default=100)
    asked = parser.parse_args()
    kinds = [("lr", "parabola"), ("lr", "cliff"), ("almr", "parabola")]
    counts = [int(count) for count in asked.trials.split(",")]
    bowls = [
        Bowl(name, shape, depth, count, seed)
        for (name, shape), count in itertools.product(kinds, counts)
        for depth in DEPTHS[name]
        for seed in range(asked.repeats)
    ]
    with ProcessPoolExecutor() as pool:
        rows = pd.DataFrame(pool.map(judge, bowls, chunksize=8))
    Console(width=120).print(shown(rows, asked.repeats))


if __name__ == "__main__":
    main()
