"""The dense grid of the demo's setting, measured by `almr run dense`: a coarse grid has to agree with it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from analysis.fit.fit import Fit, fit_study
from sweep.study import study_file

DATA = Path(__file__).parents[2] / "data"


def fit(almrs: slice, lrs: slice) -> Fit:
    """A fit of the dense table's rows at every so many ALMRs and LRs."""
    study = study_file.load("dense")
    grid = {"almr": study.grid.almr[almrs], "lr": study.grid.lrs[lrs], "seeds": (0, 1)}
    study = study.model_copy(update={"grid": study.grid.model_validate(grid)})
    table = pd.read_csv(DATA / "dense.csv", float_precision="round_trip")
    table = table[table["almr"].isin(grid["almr"]) & table["lr"].isin(grid["lr"])]
    return fit_study(study, table.reset_index(drop=True))


@pytest.fixture(scope="module")
def whole() -> Fit:
    return fit(slice(None), slice(None))


def test_the_table_is_that_of_the_shipped_study() -> None:
    table = pd.read_csv(DATA / "dense.csv")
    assert set(table["fingerprint"]) == {study_file.load("dense").fingerprint}
    assert len(table) == 162
    assert json.loads((DATA / "dense.provenance.json").read_text())["command"] == "almr run dense"


def test_the_optimum_is_inside_in_both_directions(whole: Fit) -> None:
    winner = whole.file.winner
    assert winner.at_edge == ()
    assert 0.5 < winner.almr < 0.8
    assert 2e-3 < winner.lr < 5e-3


def test_the_noise_is_that_of_the_repeats(whole: Fit) -> None:
    """Two seeds per point: the fit has to find from the surface what the repeats say by themselves."""
    used = whole.table[whole.table["excluded"].isna() & (whole.table["lr"] < 1e-2)]
    for name, surface in whole.surfaces.items():
        between = used.groupby(["almr", "lr"])[f"loss_{name}"].std().dropna()
        repeated = float((between**2).mean() ** 0.5)
        fitted = float((surface.noise(used["almr"], used["lr"]) ** 2).mean() ** 0.5)
        assert 0.4 < fitted / repeated < 2.5


def test_left_out_trials_lie_inside_their_bands(whole: Fit) -> None:
    for found in whole.file.cross_validation.values():
        assert 0.8 <= found.coverage["0.9"] <= 0.98


@pytest.mark.parametrize(
    ("almrs", "lrs"), [(slice(None, None, 2), slice(None, None, 2)), (slice(1, None, 2), slice(1, 8))]
)
def test_a_coarser_grid_agrees(whole: Fit, almrs: slice, lrs: slice) -> None:
    coarse = fit(almrs, lrs).file.winner
    for name in ("almr_interval", "lr_interval"):
        one, other = getattr(coarse, name), getattr(whole.file.winner, name)
        assert one.low <= other.high
        assert other.low <= one.high
    # The loss there, on the dense surfaces, is the smallest to within a hundredth of a nat.
    at = [coarse.almr], [coarse.lr]
    loss = sum(surface.predict(*at)[0][0] for surface in whole.surfaces.values()) / 2
    assert loss - whole.file.winner.objective < 0.01
