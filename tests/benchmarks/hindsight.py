"""How well 16 cells of the dense table can show its curve, chosen by who knows the best LR of each row already.

Five ALMRs with three LRs each, the row's best cell and those one or two steps to its sides, and one cell more.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from analysis.search.measured import Measured
from sweep import table_fit

TABLE = Path(__file__).parents[1] / "data" / "dense.csv"
ROWS = [(1, 3, 5, 7, 8), (1, 2, 5, 7, 8), (1, 4, 6, 7, 8), (1, 3, 6, 7, 8), (2, 4, 6, 7, 8), (1, 2, 4, 7, 8)]
STEPS = (1, 2)
MORE = [(4, 0), (4, 8), (0, 0), (8, 5)]


def main() -> None:
    measured = Measured.of(table_fit.read(TABLE, None, (), False, None).table, table_fit.objective(None, None, None))
    losses = measured.values.reshape(len(set(measured.space.almr)), -1)
    last, best = losses.shape[1] - 1, losses.argmin(axis=1)
    errors = []
    for rows in ROWS:
        for step in STEPS:
            cells = {(i, int(np.clip(best[i] + d, 0, last))) for i in rows for d in (-step, 0, step)}
            orders = [sorted(i * (last + 1) + j for i, j in cells | {more}) for more in MORE]
            errors += [error for order in orders if (error := measured.curve_error(order, 0)) is not None]
    goal = 1.2 * (measured.curve_error(range(losses.size), 0) or 0)
    print(f"designs {len(errors)}: best {min(errors):.3f}, median {np.median(errors):.3f}")
    print(f"within the goal of {goal:.3f}: {sum(error <= goal for error in errors)}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
