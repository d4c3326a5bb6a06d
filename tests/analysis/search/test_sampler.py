"""Our search in anyone's Optuna study."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from known_surfaces import LOWEST, LRS, Known
from search_samples import TOTAL

from analysis.search.ask import ask
from analysis.search.propose import SearchContext
from analysis.search.sampler import SurfaceSampler, table_of
from analysis.search.space import Space
from sweep.study import InputError

KNOWN = Known(almr=0.6, lr=2e-4, coupling=0.5)


def study(sampler: SurfaceSampler) -> optuna.Study:
    return optuna.create_study(sampler=sampler)


def suggested(trial: optuna.Trial) -> tuple[float, float]:
    return trial.suggest_float("almr", 0.1, 0.9), trial.suggest_float("lr", *LRS, log=True)


def loss(trial: optuna.Trial) -> float:
    """A bowl; one trial that asks for a low ALMR is pruned, and at high LRs the loss is infinite."""
    almr, lr = suggested(trial)
    if lr > 7e-4:
        return math.inf
    if almr < 0.2:
        raise optuna.TrialPruned
    return float(KNOWN.mean(almr, lr))


def test_in_a_range_it_finds_the_bottom_of_a_bowl() -> None:
    found = study(SurfaceSampler(seed=1, curve=0.0))
    found.optimize(loss, n_trials=13)
    assert found.best_value - LOWEST < 0.003
    assert len({(t.params["almr"], t.params["lr"]) for t in found.trials}) == 13


def test_in_a_list_of_cells_it_finds_the_best_of_them(cells: Space) -> None:
    found = study(SurfaceSampler(seed=0, space=cells))
    found.optimize(loss, n_trials=13)
    proposed = [(trial.params["almr"], trial.params["lr"]) for trial in found.trials]
    assert set(proposed) <= set(cells.cells)
    assert len(set(proposed)) == 13
    assert found.best_value - KNOWN.mean(cells.almr, cells.lr).min() < 0.003


def test_pruned_and_infinite_trials_diverged_and_failed_ones_are_no_data() -> None:
    outcomes = [3.6, math.inf, optuna.TrialPruned(), RuntimeError("lost")]

    def outcome(trial: optuna.Trial) -> float:
        suggested(trial)
        if isinstance(end := outcomes[trial.number], Exception):
            raise end
        return end

    found = study(SurfaceSampler())
    found.optimize(outcome, n_trials=4, catch=RuntimeError)
    suggested(found.ask())
    table, pending = table_of(found.trials, ["total"])
    assert table["status"].tolist() == ["complete", "diverged", "diverged", "failed"]
    assert table["excluded"].isna().tolist() == [True, False, False, False]
    assert len(pending) == 1


def test_losses_per_language_are_read_from_the_trials() -> None:
    found = study(SurfaceSampler())
    trial = found.ask()
    suggested(trial)
    for name, value in (("original", 3.1), ("additional", 4.1)):
        trial.set_user_attr(f"loss_{name}", value)
    found.tell(trial, 3.6)
    table, _ = table_of(found.trials, ["original", "additional"])
    assert table[["loss_original", "loss_additional"]].to_numpy().tolist() == [[3.1, 4.1]]
    assert table["status"].tolist() == ["complete"]


def test_its_state_is_the_study(cells: Space) -> None:
    """Another sampler, in another process, goes on with the same proposal."""
    found = study(SurfaceSampler(seed=3, space=cells))
    found.optimize(loss, n_trials=7)
    again = optuna.create_study(sampler=SurfaceSampler(seed=3, space=cells))
    again.add_trials(found.get_trials())
    assert suggested(again.ask()) == suggested(found.ask())


def test_it_proposes_what_a_run_does(cells: Space) -> None:
    found = study(SurfaceSampler(seed=3, space=cells))
    found.optimize(loss, n_trials=9)
    table, _ = table_of(found.trials, ["total"])
    here = ask("surface", SearchContext(table, TOTAL, cells, index=9, seed=3))
    assert suggested(found.ask()) == (here.almr, here.lr)


def test_trials_in_flight_before_any_ended_are_apart_and_pruned_ones_are_not_tried_again() -> None:
    running = study(SurfaceSampler())
    flying = {suggested(running.ask()) for _ in range(4)}
    assert len(flying) == 4
    lost = study(SurfaceSampler())
    for _ in range(4):
        trial = lost.ask()
        suggested(trial)
        lost.tell(trial, state=optuna.trial.TrialState.PRUNED)
    assert len({(t.params["almr"], t.params["lr"]) for t in lost.trials}) == 4


def test_a_study_of_other_parameters_is_refused() -> None:
    found = study(SurfaceSampler())
    with pytest.raises(InputError, match="almr and lr"):
        found.optimize(lambda trial: trial.suggest_float("rate", 0, 1), n_trials=1)


def test_a_parameter_that_is_no_float_is_refused() -> None:
    def whole(trial: optuna.Trial) -> float:
        return trial.suggest_int("almr", 0, 1) + trial.suggest_float("lr", *LRS, log=True)

    with pytest.raises(InputError, match="suggest_float"):
        study(SurfaceSampler()).optimize(whole, n_trials=1)


def test_the_first_trial_is_the_middle() -> None:
    found = study(SurfaceSampler())
    assert suggested(found.ask()) == pytest.approx((0.5, np.sqrt(LRS[0] * LRS[1])))


def test_a_study_that_maximises_is_refused() -> None:
    with pytest.raises(InputError, match="direction='minimize'"):
        optuna.create_study(sampler=SurfaceSampler(), direction="maximize").optimize(loss, n_trials=1)
