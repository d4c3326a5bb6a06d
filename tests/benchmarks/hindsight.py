"""How well so few trials can know the curve of best LR at all: cells laid out by someone who has seen the whole table.

    python tests/benchmarks/hindsight.py [TABLE]     # any table that `almr fit` reads; default: tests/data/dense.csv

Every choice of five ALMRs, with the three LRs about each one's lowest loss, and of four with four: the error of the
fit's curve as `almr simulate` has it. A search, which has to find those cells first, cannot be expected to do better.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from rich.progress import track
from threadpoolctl import threadpool_limits

from analysis.search.measured import MeasuredTable
from sweep.study import Objective
from sweep.verbs import fitting
from sweep.verbs.options import TableOptions

LAYOUTS = ((5, 3), (4, 4))  # ALMRs, and LRs at each


def about_the_lowest(measured: MeasuredTable, almr: float, count: int) -> list[int]:
    """The rows of `cells` at so many neighbouring LRs, the one of the lowest loss in their middle where it can be."""
    [row] = np.nonzero(measured.space.almr == almr)
    lowest = int(np.nanargmin(measured.values[row]))
    first = min(max(lowest - (count - 1) // 2, 0), len(row) - count)
    return [int(i) for i in row[first : first + count]]


def errors(measured: MeasuredTable, rows: int, count: int) -> list[float]:
    almrs = [a for a in np.unique(measured.space.almr) if (measured.space.almr == a).sum() >= count]
    found = []
    for chosen in track(list(itertools.combinations(almrs, rows)), f"{rows} x {count}"):
        cells = [i for almr in chosen for i in about_the_lowest(measured, almr, count)]
        found.append(measured.curve(cells, 0)[0])
    return [error for error in found if error is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, nargs="?", default=Path("tests/data/dense.csv"))
    parser.add_argument("--where", action="append", default=[], help="rows with this value alone, as in step=80")
    asked = parser.parse_args()
    measured = MeasuredTable.of(fitting.read(asked.table, TableOptions(where=asked.where)).table, Objective())
    with threadpool_limits(1):
        whole = measured.curve(list(range(len(measured.cells))), 0)[0]
        print(f"{asked.table}: all {len(measured.cells)} cells {whole:.3f}; 1.2 x that {1.2 * (whole or 0):.3f}\n")
        print("| cells | layouts | best | median | mean | worst | within 1.2 x |\n|---|---|---|---|---|---|---|")
        for rows, count in LAYOUTS:
            found = np.array(errors(measured, rows, count))
            spread = " | ".join(f"{f(found):.3f}" for f in (np.min, np.median, np.mean, np.max))
            within = np.mean(found <= 1.2 * (whole or 0))
            print(f"| {rows} ALMRs x {count} LRs | {len(found)} | {spread} | {within:.0%} |")


if __name__ == "__main__":
    main()
