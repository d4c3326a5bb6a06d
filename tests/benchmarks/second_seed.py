"""How many repeats with a second seed the interval of the best ALMR needs, on the measured table.

    python tests/benchmarks/second_seed.py [--draws 10] [--cells 30] [--repeats 0,1,4,10]

Each draw takes random cells of seed 0, and adds the cells of seed 1 that are nearest to the winner of their fit (over
the tried range of ALMR and ln LR). It counts how often the interval holds the optimum of all trials of both seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import fit_table, read_table
from analysis.fit_file.winner import Winner

DENSE = Path(__file__).parents[1] / "data" / "dense.csv"


def nearest(cells: pd.DataFrame, almr: float, lr: float) -> pd.DataFrame:
    """The complete cells, the nearest to the point first."""
    complete = cells[cells["status"] == "complete"]
    x, y = complete["almr"], np.log(complete["lr"])
    distance = np.hypot((x - almr) / np.ptp(cells["almr"]), (y - np.log(lr)) / np.ptp(np.log(cells["lr"])))
    return complete.iloc[np.argsort(distance.to_numpy())]


def winners(table: pd.DataFrame, draw: int, cells: int, repeats: list[int]) -> list[Winner]:
    """The winner with each number of repeats."""
    first = table[table["seed"] == 0].sample(cells, random_state=np.random.default_rng(draw)).sort_index()
    alone = fit_table(first.reset_index(drop=True)).winner
    near = nearest(table[table["seed"] == 1], alone.almr, alone.lr)
    return [fit_table(pd.concat([first, near.head(count)], ignore_index=True)).winner for count in repeats]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--cells", type=int, default=30)
    parser.add_argument("--repeats", default="0,1,4,10")
    options = parser.parse_args()
    table, repeats = read_table(DENSE), [int(count) for count in options.repeats.split(",")]
    truth = fit_table(table).winner.almr
    found = [winners(table, draw, options.cells, repeats) for draw in range(options.draws)]
    print(f"optimum of both seeds: ALMR {truth:.3f}; {options.cells} cells of seed 0, {options.draws} draws")
    for count, fits in zip(repeats, zip(*found, strict=True), strict=True):
        held = sum(fit.almr_interval.low <= truth <= fit.almr_interval.high for fit in fits)
        width = np.median([fit.almr_interval.high - fit.almr_interval.low for fit in fits])
        error = np.mean([abs(fit.almr - truth) for fit in fits])
        print(f"{count} repeats: held {held} of {len(fits)}, median width {width:.3f}, mean error {error:.3f}")


if __name__ == "__main__":
    main()
