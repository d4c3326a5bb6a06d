"""Searches replayed on measured tables."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_surfaces import ALMRS, LRS, Known, grid, lost, measure

from analysis.search.measured import MeasuredTable, Reference
from analysis.search.outcomes import SearchOutcome, rows
from analysis.search.replay import STRATEGIES, ReplayedSearch, everything, found_by_fit, subgrid
from analysis.search.space import Space
from sweep.study import InputError, Objective, Weights

pytestmark = pytest.mark.slow

KNOWN = Known(almr=0.55, lr=1.3e-4, coupling=1.5)


def combined(table: pd.DataFrame) -> pd.DataFrame:
    """With one loss for both languages."""
    total = (table["loss_original"] + table["loss_additional"]) / 2
    return table.drop(columns=["loss_original", "loss_additional"]).assign(loss_total=total)


@pytest.fixture(scope="module")
def bowl() -> MeasuredTable:
    """81 cells of one loss, those at the highest LR diverged."""
    table = measure(KNOWN, grid(9, 9), noise=0.0005)
    table = lost(table, table["lr"] > 0.9 * LRS[1], "diverged")
    return MeasuredTable.of(combined(table).assign(tokens=1000.0), Objective())


def test_a_cell_is_the_mean_over_the_seeds_that_completed() -> None:
    one, other = (measure(KNOWN, grid(4, 4), seed=seed).assign(seed=seed, tokens=100.0 + seed) for seed in (0, 1))
    one, other = lost(one, [0, 1, 2, 3], "diverged"), lost(other, [1, 2], "diverged")
    one, other = lost(one, [3, 4], "failed"), lost(other, [2, 3, 4], "failed")
    cells = MeasuredTable.of(pd.concat([one, other], ignore_index=True), Objective()).cells
    by_cell = cells.set_index(["almr", "lr"])
    points = list(zip(one["almr"], one["lr"], strict=True))
    assert by_cell.loc[points[5], "loss_original"] == pytest.approx(
        (one["loss_original"] + other["loss_original"])[5] / 2
    )
    assert by_cell.loc[points[5], "tokens"] == 100.5
    assert by_cell.loc[points[0], "loss_original"] == other["loss_original"][0]  # its other seed diverged
    assert set(cells.loc[cells["status"] == "diverged", "lr"]) == {points[1][1], points[2][1]}
    assert points[3] not in by_cell.index  # only failed
    assert points[4] not in by_cell.index
    assert len(cells) == 14


def test_a_table_without_enough_cells_is_refused() -> None:
    table = measure(KNOWN, grid(3, 3))
    assert len(MeasuredTable.of(table, Objective()).cells) == 9
    with pytest.raises(InputError, match="8 cells"):
        MeasuredTable.of(lost(table, [4], "diverged"), Objective())
    with pytest.raises(InputError, match="guard"):
        MeasuredTable.of(table.assign(base_loss_original=1.0), Objective(forgetting_guard_percent=1))


def test_regret_is_in_per_cent_of_the_best_and_the_worst_before_there_is_one(bowl: MeasuredTable) -> None:
    best, lost_one = int(np.nanargmin(bowl.values)), int(np.flatnonzero(np.isnan(bowl.values))[0])
    worst = 100 * (np.nanmax(bowl.values) / bowl.best - 1)
    assert bowl.regret_percent([0, best]) == 0
    assert bowl.regret_percent([lost_one]) == pytest.approx(worst)
    assert bowl.regret_percent([lost_one, 0]) == pytest.approx(100 * (bowl.values[0] / bowl.best - 1))


def test_under_a_guard_only_cells_that_keep_it_count() -> None:
    table = measure(KNOWN, grid(5, 5), noise=0).assign(base_loss_original=3.5)
    found = MeasuredTable.of(table, Objective(forgetting_guard_percent=1))
    kept = found.cells["loss_original"] <= 3.5 * 1.01
    assert 0 < kept.sum() < 25
    assert np.isfinite(found.values).tolist() == kept.tolist()
    assert found.over_the_guard == 25 - kept.sum()
    assert found.best == found.cells.loc[kept, "loss_additional"].min()
    lower = int(found.cells["loss_additional"].argmin())
    assert found.values[lower] != found.values[lower]
    assert found.regret_percent([lower]) > 0


def test_the_guard_of_the_cells_is_that_of_the_table() -> None:
    """Rows that are left out may be of another model: their base losses moved the guard under the fits of searches."""
    table = measure(KNOWN, grid(5, 5), noise=0).assign(base_loss_original=3.5)
    other = table.assign(base_loss_original=4.0, excluded="of another model")
    found = MeasuredTable.of(pd.concat([table, other, other], ignore_index=True), Objective(forgetting_guard_percent=1))
    assert set(found.cells["base_loss_original"]) == {3.5}


def test_the_noise_near_the_best_is_that_of_repeats_without_what_a_seed_shifts() -> None:
    tables = [measure(KNOWN, grid(9, 9), noise=0.01, seed=seed).assign(seed=seed) for seed in range(4)]
    tables[0][["loss_original", "loss_additional"]] += 0.5
    found = MeasuredTable.of(combined(pd.concat(tables, ignore_index=True)), Objective())
    expected = 0.01 / math.sqrt(2) / math.sqrt(4)  # of the mean of two languages, and of four seeds
    assert found.noise_percent == pytest.approx(100 * expected / found.best, rel=0.4)
    assert MeasuredTable.of(tables[1], Objective()).noise_percent is None


def test_without_noise_the_rows_show_the_curve_and_the_surface_follows_it() -> None:
    found = MeasuredTable.of(measure(KNOWN, grid(9, 9), noise=0.0), Objective())
    assert found.reference.lr == pytest.approx(KNOWN.best_lr(found.reference.almr), rel=1e-6)
    assert everything(found, 0).curve_error < 0.02


def test_the_error_is_that_of_the_logarithm(bowl: MeasuredTable) -> None:
    error = everything(bowl, 0).curve_error
    twice = Reference(bowl.reference.almr, 2 * bowl.reference.lr, bowl.reference.lr_range)
    object.__setattr__(found := MeasuredTable(bowl.cells, bowl.goal, None), "reference", twice)
    assert everything(found, 0).curve_error == pytest.approx(math.log(2), abs=2 * error)


def test_what_a_curve_costs_is_how_far_it_is_above_the_lowest_loss() -> None:
    found = MeasuredTable.of(measure(KNOWN, grid(9, 9), noise=0.0), Objective())
    whole = list(range(len(found.cells)))
    assert found.curve(whole, 0)[1] == pytest.approx(0, abs=1e-3)
    reference, model = found.reference, found._whole
    best = reference.curve(model)
    costs = [reference.excess(best + math.log(by), model) for by in (1.5, 2.0)]
    assert costs[1] / costs[0] == pytest.approx((math.log(2) / math.log(1.5)) ** 2, rel=0.15)  # a parabola in ln LR


def test_a_parabola_through_uneven_lrs_finds_its_vertex() -> None:
    lrs = [1e-5, 5e-5, 9e-5, 3e-4, 9e-4]
    cells = pd.DataFrame({"almr": 0.5, "lr": lrs, "loss_total": [(math.log(lr / 1.2e-4)) ** 2 for lr in lrs]})
    found = Reference.of(cells, MeasuredTable.of(combined(measure(KNOWN, grid(3, 3))), Objective()).goal)
    assert found.lr == pytest.approx([1.2e-4])


def test_rows_that_are_best_at_an_end_are_left_out_unless_all_are() -> None:
    goal = MeasuredTable.of(combined(measure(KNOWN, grid(3, 3))), Objective()).goal
    lrs = [1e-5, 1e-4, 1e-3, 1e-2]
    rows = {0.2: [4, 3, 2, 1], 0.4: [4, 2, 3, 4], 0.6: [math.nan, 2, math.nan, 3], 0.8: [2, 1, math.nan, 4]}
    cells = [
        {"almr": a, "lr": lr, "loss_total": loss} for a, row in rows.items() for lr, loss in zip(lrs, row, strict=True)
    ]
    table = pd.DataFrame(cells)
    assert Reference.of(table, goal).almr.tolist() == [0.4, 0.8]
    ends = Reference.of(table[table["almr"] == 0.2], goal)
    assert (ends.almr.tolist(), ends.lr) == ([0.2], pytest.approx([1e-2]))
    none = Reference.of(table[table["almr"] == 0.6], goal)
    assert none.almr.tolist() == []


def test_with_too_few_completed_trials_there_is_no_curve(bowl: MeasuredTable) -> None:
    diverged = np.flatnonzero(np.isnan(bowl.values)).tolist()
    complete = np.flatnonzero(np.isfinite(bowl.values)).tolist()
    assert bowl.curve([*diverged, *complete[:8]], 0) == (None, None)
    assert None not in bowl.curve([*diverged, *complete[:9]], 0)


@pytest.mark.parametrize("strategy", ["surface", "random"])
def test_smaller_counts_are_beginnings_of_one_search(strategy: str, bowl: MeasuredTable) -> None:
    replayed = ReplayedSearch(strategy, seed=2)
    small, large = replayed.outcomes(bowl, [5, 9])
    assert replayed.outcomes(bowl, [5]) == [small]
    assert (small.trials, small.tokens, large.tokens) == (5, 5000, 9000)
    [found] = replayed.trials(bowl, [9])
    assert len(set(found.rows)) == 9
    assert found.ended.tolist() == list(range(1, 10))
    assert large.regret_percent == bowl.regret_percent(found.rows) <= small.regret_percent


@pytest.mark.parametrize("strategy", ["surface", "tpe", "random"])
def test_with_trials_in_parallel_a_proposal_sees_no_later_outcome(strategy: str, bowl: MeasuredTable) -> None:
    """Losses of cells that were still running when the last proposal was made do not change it."""
    several = ReplayedSearch(strategy, seed=1, at_once=4)
    [found] = several.trials(bowl, [12])
    order = found.rows
    assert len(set(order)) == 12
    assert found.time == 3
    moved = bowl.cells.copy()
    moved.loc[order[8:11], "loss_total"] += 1.0
    assert several.trials(MeasuredTable(moved, bowl.goal, None), [12])[0].rows == order
    moved.loc[order[:7], "loss_total"] += np.linspace(2.0, 0.0, 7)
    if strategy == "surface":
        assert several.trials(MeasuredTable(moved, bowl.goal, None), [12])[0].rows != order


def test_trials_of_unequal_durations_take_little_longer_in_all(bowl: MeasuredTable) -> None:
    even, uneven = (ReplayedSearch("random", at_once=8, spread=spread).trials(bowl, [64])[0] for spread in (0.0, 0.5))
    assert even.time == 8
    assert 7 < uneven.time < 11
    assert len(set(uneven.rows)) == 64
    assert len(set(uneven.ended.tolist())) == 64
    grid = ReplayedSearch("grid", at_once=8, spread=0.5).trials(bowl, [64])[0]
    assert 6 < grid.time < 11


def test_the_fit_of_a_search_is_that_of_its_trials(bowl: MeasuredTable) -> None:
    whole, few = ReplayedSearch("surface").trials(bowl, [16, 8])
    found = found_by_fit(bowl, whole, Objective())
    assert [(trial["almr"], trial["lr"]) for trial in found["trials"]] == [bowl.space.cells[row] for row in whole.rows]
    assert [trial["ended"] for trial in found["trials"]] == list(range(1, 17))
    winner = found["winner"]
    assert winner["almr_interval"]["low"] <= winner["almr"] <= winner["almr_interval"]["high"]
    assert isinstance(found["refusals"], list)
    none = found_by_fit(bowl, few, Objective())
    assert (len(none["trials"]), none["winner"], none["refusals"]) == (8, None, None)


def test_all_cells_find_the_best(bowl: MeasuredTable) -> None:
    [found] = ReplayedSearch("grid").outcomes(bowl, [81])
    assert (found.regret_percent, found.tokens) == (0, 81000)
    assert everything(bowl, 0)[1:-1] == found[1:-1]
    assert set(STRATEGIES) == {"surface", "tpe", "gp", "random", "grid"}


def test_tokens_that_were_not_recorded_are_absent() -> None:
    found = MeasuredTable.of(measure(KNOWN, grid(3, 3)).assign(tokens=[100.0] * 8 + [math.nan]), Objective())
    assert found.tokens([0, 1]) == 200
    assert found.tokens([0, 8]) is None
    assert MeasuredTable.of(measure(KNOWN, grid(3, 3)), Objective()).tokens([0]) is None


def test_on_a_bowl_our_search_is_near_the_best_after_12_trials_and_better_than_chance(bowl: MeasuredTable) -> None:
    regret = {
        s: [ReplayedSearch(s, seed=seed).outcomes(bowl, [12])[0].regret_percent for seed in range(4)]
        for s in ("surface", "random")
    }
    assert max(regret["surface"]) < 0.05
    assert np.mean(regret["surface"]) < np.mean(regret["random"]) / 3


@pytest.mark.parametrize("points", [grid(1, 15), grid(15, 1)], ids=["one ALMR", "one LR"])
def test_a_table_of_one_hyper_parameter_can_be_replayed(points: list[tuple[float, float]]) -> None:
    found = MeasuredTable.of(combined(measure(KNOWN, points)), Objective())
    for strategy in ("surface", "random", "grid"):
        [outcome] = ReplayedSearch(strategy, curve=0.5).outcomes(found, [14])
        assert 0 <= outcome.regret_percent < 5
        assert (outcome.curve_error is None) == (len({lr for _, lr in points}) == 1)


def test_weights_decide_the_best_cell() -> None:
    found = MeasuredTable.of(measure(KNOWN, grid(9, 3), noise=0), Objective(weights=Weights(original=1, additional=0)))
    best = found.cells.iloc[int(np.nanargmin(found.values))]
    assert best["almr"] == pytest.approx(KNOWN.almr - 0.3, abs=0.06)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 90), st.integers(0, 3))
def test_a_subgrid_is_even_distinct_and_within_its_budget(almrs: int, lrs: int, trials: int, seed: int) -> None:
    space = Space.grid(np.linspace(*ALMRS, almrs), np.geomspace(*LRS, lrs))
    cells = subgrid(space, trials, seed)
    assert len(cells) == len(set(cells)) <= max(trials, len(space.cells) * (trials >= len(space.cells)))
    assert set(cells) <= set(space.cells)
    if trials >= len(space.cells):
        assert len(cells) == len(space.cells)
        return
    places = [
        np.searchsorted(np.unique(axis), np.unique(np.array(cells)[:, i]))
        for i, axis in enumerate((space.almr, space.lr))
    ]
    assert len(places[0]) * len(places[1]) == len(cells)
    for place in places:
        assert np.ptp(np.diff(place)) <= 1 if len(place) > 2 else True


def test_a_subgrid_is_roughly_square_and_moves_with_the_seed() -> None:
    space = Space.grid(np.linspace(*ALMRS, 9), np.geomspace(*LRS, 9))
    shapes = {n: [len(set(axis)) for axis in zip(*subgrid(space, n, 0), strict=True)] for n in (8, 12, 13, 16, 24, 80)}
    assert shapes == {8: [2, 4], 12: [3, 4], 13: [3, 4], 16: [4, 4], 24: [4, 6], 80: [8, 9]}
    assert len({tuple(subgrid(space, 12, seed)) for seed in range(8)}) > 3
    wide = Space.grid([0.3, 0.6], np.geomspace(*LRS, 20))
    assert len(subgrid(wide, 16, 0)) == 16


def test_where_the_table_lacks_a_cell_the_nearest_stands_in() -> None:
    random = np.random.default_rng(0)
    scattered = Space(
        tuple(zip(random.uniform(size=30).tolist(), random.uniform(1e-5, 1e-3, 30).tolist(), strict=True))
    )
    assert len(set(subgrid(scattered, 12, 0))) == 12


def test_a_row_is_over_its_repeats() -> None:
    outcomes = [
        SearchOutcome("tpe", 8, regret, error, error, 10.0, 4.0)
        for regret, error in ((0.0, 0.2), (1.0, None), (5.0, 0.4))
    ]
    [row, other] = rows([*outcomes, SearchOutcome("tpe", 12, 0.5, None, None, None, 6.0)])
    assert (row.strategy, row.trials, row.repeats) == ("tpe", 8, 3)
    assert (row.regret_percent_mean, row.regret_percent_median) == (2.0, 1.0)
    assert row.regret_percent_p90 == pytest.approx(4.2)
    assert row.curve_error == row.curve_excess_percent == pytest.approx(0.3)
    assert row.tokens == 10
    assert (other.curve_error, other.tokens, other.time) == (None, None, 6)
