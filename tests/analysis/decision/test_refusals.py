"""A winner that the trials do not support is refused, and a clean one inside the grid is not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from coarse_lattice import coarse

from analysis.fit.fit import fit_study, fit_table
from analysis.fit_file.findings import messages
from analysis.table import table as tables
from analysis.table.import_table import read_table
from sweep.study import Objective, numbers

pytestmark = pytest.mark.slow

LR0 = 1e-4
LRS = LR0 * np.exp(np.linspace(-2.3, 2.3, 5))
ALMRS = np.linspace(0.1, 0.9, 4)


def bowl(almr=0.5, lr=LR0, coupling=0.5, skew=0.0, depth=(0.5, 0.05)):
    """(ALMR, LR) -> both languages' losses. Their mean is lowest at the point given; `skew` makes high LRs steeper."""

    def losses(a, r):
        v = np.log(r / lr) - coupling * (a - almr)
        valley = depth[1] * (2 * (np.exp(skew * v) - 1 - skew * v) / skew**2 if skew else v**2)
        u = a - almr
        return 3.2 + depth[0] * (u**2 + 0.6 * u) + valley, 3.8 + depth[0] * (u**2 - 0.6 * u) + valley

    return losses


def measure(losses, almrs=ALMRS, lrs=LRS, noise=0.003, seeds=1, cliff=lambda almr: np.inf, stream=0):
    """The table of a grid: LRs over `cliff` diverged."""
    random, rows = np.random.default_rng(stream), []
    for a, r, seed in [(a, r, seed) for seed in range(seeds) for a in almrs for r in lrs]:
        row = {"almr": a, "lr": r, "seed": seed, "status": "complete", "excluded": None}
        original, additional = np.asarray(losses(a, r)) + noise * random.standard_normal(2)
        if r > cliff(a):
            row |= {"status": "diverged", "excluded": "diverged: loss is not finite"}
        else:
            row |= {"loss_original": original, "loss_additional": additional}
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=tables.COLUMNS)


def fitted(table, **objective):
    with coarse():
        return fit_table(table, Objective(**objective), "table").file


def codes(file):
    return {finding.code for finding in file.refusals}


def only(file, code):
    """The refusal of that code; its trials are few, possible, and in the text."""
    [found] = [finding for finding in file.refusals if finding.code == code]
    assert 1 <= len(found.next) <= 6
    assert all(0 <= trial.almr <= 1 and trial.lr > 0 for trial in found.next)
    first = f"{numbers.almr(found.next[0].almr)} / {numbers.lr(found.next[0].lr)}"
    assert messages([found])[-1].startswith(f"Suggested trials (ALMR / LR): {first}")
    return found


def clean(seed):
    """An interior bowl of its own shape, noise and grid; every other one with a divergence edge at a factor over 4."""
    random = np.random.default_rng(seed)
    almrs, lrs = np.linspace(0.1, 0.9, 4 + seed % 2), np.linspace(-1, 1, 5 + seed % 2)
    span = random.uniform(1.8, 2.5)
    almr, lr = random.uniform(0.3, 0.7), LR0 * np.exp(random.uniform(-0.5, 0.5) * span)
    coupling, skew = random.choice([0, 0.5, 1.5]), random.choice([0, 0.3, 0.8])
    depth = random.uniform(0.3, 1), random.uniform(0.02, 0.08)
    factor = random.uniform(4, 8) if seed % 4 > 1 else np.inf
    return measure(
        bowl(almr, lr, coupling, skew, depth),
        almrs,
        LR0 * np.exp(span * lrs),
        noise=10 ** random.uniform(-3, -2),
        cliff=lambda a: factor * lr * np.exp(coupling * (a - almr)),
        stream=seed,
    )


def test_clean_bowls_are_not_refused():
    refused = {seed: codes(fitted(clean(seed))) for seed in range(20)}
    assert sum(map(bool, refused.values())) <= 1, refused


@pytest.mark.parametrize("seed", [1, 5])
def test_trials_that_failed_at_random_refuse_nothing(seed):
    table = clean(seed)
    lost = np.random.default_rng(seed).permutation(len(table))[: int(0.4 * len(table))]
    table.loc[lost, ["status", "excluded"]] = "failed", "failed: worker died"
    table.loc[lost, ["loss_original", "loss_additional"]] = np.nan
    assert codes(fitted(table)) == set()


@pytest.mark.parametrize(
    ("optimum", "name", "past"),
    [
        ({"lr": LRS[0]}, "lr", lambda trial: trial.lr < 0.99 * LRS[0]),
        ({"lr": 3 * LRS[-1]}, "lr", lambda trial: trial.lr > 1.01 * LRS[-1]),
        ({"almr": 0.1}, "almr", lambda trial: trial.almr < 0.1),
        ({"almr": 1.1}, "almr", lambda trial: trial.almr > 0.9),
    ],
)
@pytest.mark.parametrize("stream", [0, 3])
def test_an_optimum_at_an_edge_or_outside_is_refused_and_trials_beyond_are_suggested(optimum, name, past, stream):
    found = only(fitted(measure(bowl(**optimum), stream=stream)), "edge")
    assert f"the best {'ALMR' if name == 'almr' else 'LR'} " in found.message
    assert all(past(trial) for trial in found.next)


def test_the_grids_own_trials_come_before_new_ones(make_bowl, make_study):
    table = tables.from_records(make_bowl(almrs=(0.1, 0.3)))
    study = make_study()
    found = only(fit_study(study, table).file, "edge")
    assert "run the grid's own trials beyond it" in found.message
    assert {trial.almr for trial in found.next} <= {0.5, 0.7, 0.9}
    assert {trial.lr for trial in found.next} <= set(study.grid.lrs)


SEARCH = {"strategy": "surface", "trials": 12}


@pytest.mark.parametrize(
    ("almrs", "search", "advice"),
    [
        ([0.1, 0.3, 0.5, 0.7, 0.9], {}, "the search has not tried the grid's cells beyond it: raise search.trials"),
        ([0.1, 0.3, 0.5], {"trials": 40}, "cells beyond it: run the 28 trials that the search has left"),
        ([0.1, 0.3], {}, "set search.bounds.almr beyond it and raise search.trials"),
        ([0.1, 0.3], {"bounds": {"almr": [0.1, 1]}}, "within search.bounds: raise search.trials"),
    ],
)
def test_a_search_with_its_optimum_at_an_edge_names_what_to_change(almrs, search, advice, make_bowl, make_study):
    study = make_study(search=SEARCH | search, grid={"almr": almrs, "lr": list(make_study().grid.lrs)})
    found = only(fit_study(study, tables.from_records(make_bowl(almrs=(0.1, 0.3)))).file, "edge")
    assert advice in found.message
    assert "the grid's own trials" not in found.message


def test_an_lr_that_does_not_matter_is_flat():
    found = only(fitted(measure(bowl(depth=(0.5, 0)), stream=2)), "flat")
    assert "of the tried LRs" in found.message
    assert all(np.isclose(ALMRS, trial.almr).any() and np.isclose(LRS, trial.lr).any() for trial in found.next)


def test_lrs_that_lie_too_close_together_are_to_be_spread():
    lrs = np.geomspace(0.7, 1.4, 4) * LR0
    found = only(fitted(measure(bowl(coupling=0), lrs=lrs, noise=0.02, stream=2)), "flat")
    assert "too close together" in found.message
    assert min(t.lr for t in found.next) < lrs[0] < lrs[-1] < max(t.lr for t in found.next)


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_noise_alone_is_refused(stream):
    file = fitted(measure(bowl(depth=(0, 0)), noise=0.02, stream=stream))
    assert codes(file) & {"contradictory", "flat"}


def test_a_trial_far_from_all_others_does_not_contradict_them():
    """Twenty trials of a search; the one at the far corner is over a nat above the others."""
    path = Path(__file__).parents[2] / "data" / "far_corner.csv"
    assert codes(fitted(read_table(path))) == set()


def test_losses_dealt_to_the_wrong_trials_are_contradictory():
    table = measure(bowl())
    losses = ["loss_original", "loss_additional"]
    table[losses] = table[losses].to_numpy()[np.random.default_rng(1).permutation(len(table))]
    assert "no surface explains the objective" in only(fitted(table), "contradictory").message


def test_repeats_that_disagree_are_contradictory():
    table = measure(bowl(), seeds=2)
    shift = 0.6 * np.random.default_rng(0).integers(0, 2, len(table) // 2)
    table.loc[table["seed"] == 1, ["loss_original", "loss_additional"]] += shift[:, None]
    found = only(fitted(table), "contradictory")
    assert "another seed" in found.message
    assert all(np.isclose(ALMRS, trial.almr).any() and np.isclose(LRS, trial.lr).any() for trial in found.next)


def test_two_basins_are_contradictory_and_both_are_to_be_measured():
    def losses(a, r):
        both = 0.3 * (a - 0.5) ** 2 + 0.06 * ((np.log(r / LR0) / 1.3) ** 2 - 1) ** 2
        return 3.2 + both, 3.8 + both

    lrs = LR0 * np.exp(np.linspace(-2.3, 2.3, 9))
    file = fitted(measure(losses, np.linspace(0.1, 0.9, 5), lrs, noise=0.002, stream=1))
    found = only(file, "contradictory")
    assert "two minima" in found.message
    for minimum in np.exp([-1.3, 1.3]) * LR0:
        assert min(abs(np.log(trial.lr / minimum)) for trial in found.next) < 0.4
    assert "flat" not in codes(file)


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"lrs": LRS[[1, 3]], "seeds": 2}, "two values of LR"),
        ({"almrs": ALMRS[1:3]}, "two values of ALMR"),
        ({"almrs": (0.5,), "lrs": LRS[[1, 3]], "seeds": 3}, "two values of LR"),
    ],
)
def test_one_or_two_values_of_a_hyper_parameter_are_too_few(grid, words):
    table = measure(bowl(), **grid)
    found = only(fitted(table), "few")
    assert words in found.message
    done = {(f"{a:.3g}", f"{r:.3g}") for a, r in zip(table["almr"], table["lr"], strict=True)}
    assert not done & {(f"{trial.almr:.3g}", f"{trial.lr:.3g}") for trial in found.next}


@pytest.mark.parametrize("factor", [1.2, 1.5])
def test_a_winner_close_to_the_divergence_edge_is_refused_before_all_else(factor):
    lrs = LR0 * np.exp(np.linspace(-2.3, 2.3, 9))
    file = fitted(measure(bowl(lr=7e-5), lrs=lrs, cliff=lambda a: factor * 7e-5 * np.exp(0.5 * (a - 0.5))))
    assert file.refusals[0].code == "unsafe"
    found = only(file, "unsafe")
    assert all(trial.lr < 2.01 * file.winner.lr for trial in found.next)


def test_a_trial_that_diverged_at_the_winners_lr_is_not_outvoted():
    """Above it trials trained, so that a line between the two kinds says little."""
    table = measure(bowl(), almrs=np.linspace(0.1, 0.9, 5))
    at = (table["almr"] == 0.5) & np.isclose(table["lr"], LR0)
    table.loc[at, ["status", "excluded"]] = "diverged", "diverged: loss is not finite"
    table.loc[at, ["loss_original", "loss_additional"]] = np.nan
    assert "unsafe" in codes(fitted(table))


def test_a_corpus_read_too_often_at_the_winner_is_refused():
    table = measure(bowl())
    table["almr_achieved"] = table["almr"]
    table["epochs_additional"], table["epochs_original"] = 10 * table["almr"], 2 * (1 - table["almr"])
    found = only(fitted(table), "repeats")
    assert "reads the additional corpus" in found.message
    assert "up to ALMR 0.4" in found.message
    assert {trial.almr for trial in found.next} == {0.4}
    assert codes(fitted(table, max_epochs=6)) == set()


def test_the_original_corpus_counts_from_the_other_side():
    table = measure(bowl())
    table["epochs_original"] = 12 * (1 - table["almr"])
    found = only(fitted(table), "repeats")
    assert "original corpus" in found.message
    assert "from ALMR 0.667 on" in found.message
    assert all(12 * (1 - trial.almr) <= 4 for trial in found.next)


def test_a_guard_that_no_point_keeps_is_refused():
    table = measure(bowl()).assign(base_loss_original=2.9)
    file = fitted(table, forgetting_guard_percent=1)
    found = only(file, "guard")
    assert all(t.lr <= 1.01 * file.winner.lr and t.almr <= 1.01 * file.winner.almr for t in found.next)
    assert "flat" not in codes(file)
    kept = fitted(table.assign(base_loss_original=3.2), forgetting_guard_percent=3)
    assert kept.guard.probability >= kept.winner.level
    assert codes(kept) == set()
