"""What the fit is worth: its predictions from few cells beside simpler fits of the same cells, and its time and memory.

    python tests/benchmarks/fit.py [--repeats 20] [--cells 12,16,25] [--table tests/data/dense.csv]

A cell is a point (ALMR, LR) of the table, its objective the mean over seeds. Each repeat draws cells at random; every
method fits the same ones and predicts the rest. Time and peak memory are of one fit in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor, kernels
from threadpoolctl import threadpool_limits

from analysis.surfaces.surface import Surface, scales
from analysis.table import table as tables

DENSE = Path(__file__).parents[1] / "data" / "dense.csv"
LEVEL = 0.9
NEAR = 0.1  # nats above the best: where a choice is made
Predict = Callable[[pd.DataFrame], tuple[np.ndarray, np.ndarray]]


def cells(path: Path) -> pd.DataFrame:
    """Columns almr, lr, loss: the objective of equal weights, the mean over the seeds that completed."""
    used = tables.usable(pd.read_csv(path))
    loss = tables.objective(used, {"original": 0.5, "additional": 0.5})
    return used.assign(loss=loss).groupby(["almr", "lr"])["loss"].mean().reset_index()


def unit(frame: pd.DataFrame, of: pd.DataFrame) -> np.ndarray:
    columns = ((frame["almr"], of["almr"]), (np.log(frame["lr"]), np.log(of["lr"])))
    return np.stack([(2 * (x - m.min()) / (np.ptp(m) or 1) - 1).to_numpy() for x, m in columns], axis=1)


def ours(seen: pd.DataFrame) -> Predict:
    surface = Surface.averaged(scales(seen["almr"], seen["lr"], seen["loss"]))

    def predict(at: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        mean, sd = surface.predict(at["almr"], at["lr"])
        return mean, np.hypot(sd, surface.noise(at["almr"], at["lr"]))

    return predict


def gaussian_process(seen: pd.DataFrame) -> Predict:
    """scikit-learn's with RBF and white noise, by maximum likelihood."""
    kernel = kernels.ConstantKernel() * kernels.RBF([1.0, 1.0]) + kernels.WhiteKernel(0.01)
    process = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=4, random_state=0)
    process.fit(unit(seen, seen), seen["loss"])
    return lambda at: process.predict(unit(at, seen), return_std=True)


def quadratic(seen: pd.DataFrame) -> Predict:
    """Least squares in 1, u, v, u^2, uv, v^2."""
    features = lambda x: np.stack([x[:, 0] ** i * x[:, 1] ** j for i in range(3) for j in range(3 - i)], axis=1)  # noqa: E731
    x, y = features(unit(seen, seen)), seen["loss"].to_numpy()
    inverse = np.linalg.pinv(x.T @ x)
    coefficients = inverse @ x.T @ y
    variance = np.sum((y - x @ coefficients) ** 2) / max(len(y) - x.shape[1], 1)

    def predict(at: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        z = features(unit(at, seen))
        return z @ coefficients, np.sqrt(variance * (1 + np.einsum("ij,jk,ik->i", z, inverse, z)))

    return predict


def parabolas(seen: pd.DataFrame) -> Predict:
    """One parabola in ln LR per ALMR with three cells or more; elsewhere nothing is predicted. It gives no bands."""
    lines = {almr: np.polyfit(np.log(row["lr"]), row["loss"], 2) for almr, row in seen.groupby("almr") if len(row) >= 3}

    def predict(at: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        empty = np.full(3, np.nan)
        mean = [np.polyval(lines.get(a, empty), np.log(r)) for a, r in zip(at["almr"], at["lr"], strict=True)]
        return np.array(mean), np.full(len(at), np.nan)

    return predict


def best_cell(seen: pd.DataFrame) -> Predict:
    """It chooses the best cell that was measured, and predicts nothing."""
    known = {(a, r): y for a, r, y in seen[["almr", "lr", "loss"]].itertuples(index=False)}
    mean = lambda at: np.array([known.get(key, np.nan) for key in zip(at["almr"], at["lr"], strict=True)])  # noqa: E731
    return lambda at: (mean(at), np.full(len(at), np.nan))


METHODS = {
    "ours": ours,
    "best measured cell": best_cell,
    "parabola per ALMR": parabolas,
    "quadratic surface": quadratic,
    "plain Gaussian process": gaussian_process,
}


def judge(every: pd.DataFrame, count: int, seed: int) -> list[dict[str, float | str]]:
    order = np.random.default_rng([seed, count]).permutation(len(every))
    seen, rest = every.iloc[order[:count]], every.iloc[order[count:]]
    near = (rest["loss"] < every["loss"].min() + NEAR).to_numpy()
    rows: list[dict[str, float | str]] = []
    for name, method in METHODS.items():
        predict = method(seen)
        mean, sd = predict(rest)
        error = rest["loss"].to_numpy() - mean
        everywhere = predict(every)[0]
        # Where a method predicts nothing at all it falls back on the best cell that it saw.
        chosen = np.nanargmin(everywhere) if np.isfinite(everywhere).any() else None
        regret = (every if chosen is None else every.iloc[[chosen]])["loss"] if chosen is not None else seen["loss"]
        rows.append(
            {
                "cells": count,
                "method": name,
                "rmse": float(np.sqrt(np.nanmean(error**2))) if np.isfinite(error).any() else np.nan,
                "rmse_near": float(np.sqrt(np.nanmean(error[near] ** 2))) if np.isfinite(error[near]).any() else np.nan,
                "regret": float(regret.min() - every["loss"].min()),
                "coverage": float((np.abs(error) <= norm.ppf((1 + LEVEL) / 2) * sd).mean())
                if np.isfinite(sd).any()
                else np.nan,
                "predicted": float(np.isfinite(mean).mean()),
            }
        )
    return rows


def accuracy(path: Path, counts: list[int], repeats: int) -> pd.DataFrame:
    every = cells(path)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", np.exceptions.RankWarning)
        rows = [row for count in counts for seed in range(repeats) for row in judge(every, count, seed)]
    return pd.DataFrame(rows).groupby(["cells", "method"], sort=False).mean().reset_index()


def synthetic(trials: int) -> pd.DataFrame:
    """A coupled bowl at random points, a language each."""
    random = np.random.default_rng(0)
    almr, v = random.uniform(0.05, 0.95, trials), random.uniform(-2, 2, trials)
    bowl = 0.05 * (v - almr + 0.5) ** 2
    loss = {"loss_original": 3 + 0.4 * almr**2 + bowl, "loss_additional": 4 + 0.9 * (1 - almr) ** 2 + bowl}
    noisy = {name: values + 0.003 * random.standard_normal(trials) for name, values in loss.items()}
    frame = pd.DataFrame({"almr": almr, "lr": 1e-4 * np.exp(v), "seed": 0, "status": "complete", **noisy})
    return frame.reindex(columns=[*frame.columns, *(c for c in tables.COLUMNS if c not in frame)])


def measure(what: str, trials: int) -> None:
    """Fit once and print seconds and peak MiB beyond the imports: run in a process of its own."""
    from analysis.fit.fit import fit_table
    from sweep.study import Objective

    table, before = synthetic(trials), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()  # of one thread, so that other work on the machine counts little
    if what == "ours":
        fit_table(table, Objective(), "synthetic")
    else:
        plain(table)
    seconds = time.process_time() - began
    print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def plain(table: pd.DataFrame) -> None:
    """What a notebook would do: a scikit-learn process per language, 500 draws on the same lattice."""
    lattice = np.stack([x.ravel() for x in np.meshgrid(np.linspace(-1, 1, 25), np.linspace(-1, 1, 41))], axis=1)
    with threadpool_limits(1):
        for name in ("loss_original", "loss_additional"):
            kernel = kernels.ConstantKernel() * kernels.RBF([1.0, 1.0]) + kernels.WhiteKernel(0.01)
            process = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=4, random_state=0)
            process.fit(unit(table, table), table[name])
            process.sample_y(lattice, 500, random_state=0)


def speed(sizes: list[int]) -> Table:
    shown = Table("trials", "method", "seconds", "peak MiB", "against plain", title="time and memory, two languages")
    for trials in sizes:
        found = {what: timed(what, trials) for what in ("ours", "plain")}
        for what, (seconds, memory) in found.items():
            ratio = f"{seconds / found['plain'][0]:.2f} x"
            shown.add_row(str(trials), what, f"{seconds:.2f}", f"{memory:.0f}", ratio)
    return shown


def timed(what: str, trials: int) -> tuple[float, float]:
    command = [sys.executable, __file__, "--measure", what, "--trials", str(trials)]
    seconds, memory = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), float(memory)


def shown(frame: pd.DataFrame, repeats: int, path: Path) -> Table:
    table = Table(title=f"{path.name}: mean of {repeats} draws; losses in nats per token")
    for name in ("cells", "method", "RMSE", "RMSE near the best", "regret", f"in the {LEVEL:.0%} band", "predicted"):
        table.add_column(name)
    for row in frame.itertuples():
        numbers = (row.rmse, row.rmse_near, row.regret)
        text = ["-" if np.isnan(number) else f"{number:.4f}" for number in numbers]
        covered = "-" if np.isnan(row.coverage) else f"{row.coverage:.0%}"
        table.add_row(str(row.cells), row.method, *text, covered, f"{row.predicted:.0%}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=DENSE)
    parser.add_argument("--cells", default="12,16,25")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--sizes", default="200,2000")
    parser.add_argument("--measure", choices=["ours", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--trials", type=int, default=200, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(asked.measure, asked.trials)
        return
    counts = [int(count) for count in asked.cells.split(",")]
    console = Console()
    console.print(shown(accuracy(asked.table, counts, asked.repeats), asked.repeats, asked.table))
    console.print(speed([int(size) for size in asked.sizes.split(",")]))


if __name__ == "__main__":
    main()
