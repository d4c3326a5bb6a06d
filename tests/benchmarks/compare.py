"""How often `almr compare` calls two optima different that are one, and finds those that differ.

    python tests/benchmarks/compare.py [--pairs 60]

Two tables of a grid of 6 x 6 trials each are measured on known surfaces (tests/support/known_surfaces.py) with noise of
their own, fitted and compared: where the optimum is the same, and where it is moved in ALMR or LR.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from known_surfaces import Known, grid, measure

from analysis.compare.compare import compared
from analysis.compare.fitted import ComparedFit
from analysis.fit.fit import fit_table

MOVES = {"none": {}, "ALMR + 0.05": {"almr": 0.55}, "ALMR + 0.1": {"almr": 0.6}, "LR x 1.2": {"lr": 1.2e-4}}
MOVES |= {"LR x 1.5": {"lr": 1.5e-4}}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=60)
    pairs = parser.parse_args().pairs
    first = [_fit(Known(), 2 * k) for k in range(pairs)]
    print("second optimum      called different  p at most 0.5  interval holds the ALMR's, the LR's difference")
    for name, move in MOVES.items():
        known = Known(**move)
        found = [compared([one, _fit(known, 2 * k + 1)]).pairs[0].shift for k, one in enumerate(first)]
        inside = (
            [_holds(one.almr, known.almr - 0.5) for one in found],
            [_holds(one.lr, known.lr / 1e-4) for one in found],
        )
        shares = [np.mean([one.differ for one in found]), np.mean([one.p_value <= 0.5 for one in found])]
        print(f"{name:<20}{shares[0]:>15.0%}{shares[1]:>15.0%}{np.mean(inside[0]):>15.0%}{np.mean(inside[1]):>15.0%}")


def _fit(known: Known, stream: int) -> ComparedFit:
    return ComparedFit.of(fit_table(measure(known, grid(6, 6), seed=stream)), str(stream))


def _holds(shift, value: float) -> bool:
    return shift.interval.low <= value <= shift.interval.high


if __name__ == "__main__":
    main()
