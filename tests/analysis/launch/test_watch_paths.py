"""The predicted path of a launch: read from trials' logs, fitted at each share of the steps, with a band for it all."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from analysis.launch.watching import trial_paths
from analysis.launch.watching.trial_paths import TrialPaths
from sweep.study.files.layout import RunFiles

GRID = [(almr, lr) for almr in (0.2, 0.4, 0.6, 0.8) for lr in (1e-4, 2e-4, 4e-4)]
STEPS = 40


def change(almr: float, lr: float, share: float) -> float:
    """A rise that is taken back: of no shape times its end."""
    return math.sin(math.pi * share) * math.log10(lr / 1e-5) / 10 + share * (almr - 0.5) ** 2


def paths(noise: float = 0.002) -> TrialPaths:
    random, shares = np.random.default_rng(0), np.array([0.5, 1.0])
    almr, lr = (np.array([point[i] for point in GRID]) for i in (0, 1))
    made = [[change(*point, share) for share in shares] for point in GRID]
    return TrialPaths(almr, lr, shares, {"original": np.array(made) + random.normal(0, noise, (len(GRID), 2))})


def test_a_path_is_fitted_with_a_band_that_left_out_trials_set():
    found = trial_paths.fitted(paths(), (0.5, 2e-4), 0.9)
    half = found.factor * found.error["original"]
    for i, share in enumerate((0.5, 1.0)):
        assert abs(found.change["original"][i] - change(0.5, 2e-4, share)) < half[i]
    assert (found.trials, found.inside) == (12, 12)
    assert 0.002 < half.min() <= half.max() < 0.05
    assert trial_paths.fitted(paths(), (0.5, 2e-4), 0.95) is None  # 12 trials set no band of 95 %


def write_trial(run: Path, name: str, point: tuple[float, float], steps: range) -> None:
    lines = [{"step": 0, "held_out": {"original": 3.0}}, {"step": 1, "loss": 3.0}]
    lines += [{"step": step, "held_out": {"original": 3.0 + change(*point, step / STEPS)}} for step in steps]
    lines.append({"horizon": 9, "step": STEPS, "held_out": {"original": 99.0}})
    file = RunFiles(run).trial(name).metrics
    file.parent.mkdir(parents=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 40, "held_')


@pytest.mark.parametrize("every", [10, STEPS], ids=["on the way", "only at the end"])
def test_the_trials_measurements_are_read_from_their_logs(tmp_path, every):
    for i, point in enumerate(GRID):
        write_trial(tmp_path, f"t{i}", point, range(every, STEPS + 1, every))
    rows = [{"trial_id": f"t{i}", "almr": a, "lr": lr, "excluded": None} for i, (a, lr) in enumerate(GRID)]
    rows.append({"trial_id": "lost", "almr": 0.5, "lr": 1e-4, "excluded": None})
    fit = SimpleNamespace(table=pd.DataFrame(rows))
    found = trial_paths.read(fit, tmp_path, ["original"])
    if every == STEPS:
        assert found is None
        return
    assert list(found.shares) == [0.25, 0.5, 0.75, 1.0]
    assert found.changes["original"][3] == pytest.approx([change(*GRID[3], share) for share in found.shares])
    assert trial_paths.read(fit, tmp_path, ["original", "additional"]) is None
