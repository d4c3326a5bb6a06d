"""Whether the predicted path of a launch holds for trials that its surfaces never saw.

python -m tests.benchmarks.watch_path RUN    # a run whose study has training.evaluate_every; minutes

Each of the trials nearest to the winner is left out in turn: the path at its (ALMR, LR), with its band, is predicted
from the others alone, at every other measurement, and compared with what it measured there and in between.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from analysis.fit.load import load_fit
from analysis.launch.watching import trial_paths
from analysis.launch.watching.trial_paths import FittedPath, TrialPaths
from sweep.store.run import Run

LEVEL = 0.9


def main() -> None:
    run = Run(Path(sys.argv[1]))
    fit = load_fit(run.study(), run.folder, run.address)
    paths = trial_paths.read(fit, run.folder, ["original", "additional"])
    assert paths, "no trial measured held-out losses on the way"
    near = trial_paths._nearest(paths, fit.winner.almr, fit.winner.lr)
    inside = []
    for i in near:
        rest = without(paths, int(i))
        found = trial_paths.fitted(every_other(rest), (float(paths.almr[i]), float(paths.lr[i])), LEVEL)
        assert found
        over = {name: excess(paths, found, name, i) for name in paths.changes}
        inside.append(max(over.values()) <= 1)
        shown = ", ".join(f"{name} {value:.2f}" for name, value in over.items())
        print(f"ALMR {paths.almr[i]:.2f}, LR {paths.lr[i]:.2e}: largest error in half bands: {shown}", flush=True)
    print(f"{sum(inside)} of {len(inside)} left-out trials have every measurement inside their band of {LEVEL:.0%}")


def without(paths: TrialPaths, i: int) -> TrialPaths:
    kept = np.flatnonzero(np.arange(len(paths.almr)) != i)
    changes = {name: of[kept] for name, of in paths.changes.items()}
    return TrialPaths(paths.almr[kept], paths.lr[kept], paths.shares, changes)


def every_other(paths: TrialPaths) -> TrialPaths:
    """Those in between are then on the straight lines of the prediction."""
    kept = np.arange(len(paths.shares) - 1, -1, -2)[::-1]
    return paths._replace(shares=paths.shares[kept], changes={name: of[:, kept] for name, of in paths.changes.items()})


def excess(paths: TrialPaths, found: FittedPath, name: str, i: int) -> float:
    """The largest error from the first predicted share on."""
    shares = every_other(paths).shares
    asked = paths.shares[paths.shares >= shares[0]]
    middle = np.interp(asked, shares, found.change[name])
    half = found.factor * np.interp(asked, shares, found.error[name])
    measured = paths.changes[name][i][paths.shares >= shares[0]]
    return float(np.max(np.abs(measured - middle) / half))


if __name__ == "__main__":
    main()
