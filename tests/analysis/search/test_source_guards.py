"""The search under objectives and guards of sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from several_sources import ALMRS, LRS, losses, record, records, study, write

from analysis.decision.objectives import WeightedGoal, goal
from analysis.search import gain
from analysis.search.ask import OTHERS, ask
from analysis.search.growth import best_cell
from analysis.search.measured import MeasuredTable
from analysis.search.propose import SearchContext, fit
from analysis.search.space import Space
from analysis.table import table as tables
from sweep.store.run import Run
from sweep.study import Objective, Status
from sweep.trials.search_data import search_context
from sweep.verbs.inspection.status import status_json

SPACE = Space.grid(ALMRS, LRS)
CODE = {"guards": [{"source": "code", "at_most_percent": 5}]}  # kept up to ALMR 0.5 at the best LR


def context(objective: dict) -> SearchContext:
    of = study(objective=objective)
    table = tables.from_records(records(of))
    return SearchContext(table, goal(of.objective, table), SPACE, seed=1)


def test_the_best_cell_keeps_the_guard_of_a_source() -> None:
    free, guarded = context({"weights": {"additional": 1, "web": 1}}), context(CODE)
    assert best_cell(free)[0] == 0.7
    assert best_cell(guarded)[0] in (0.3, 0.5)
    assert losses(*best_cell(guarded))["code"] <= 2.105


def test_several_guards_are_kept_together() -> None:
    both = {"guards": [*CODE["guards"], {"source": "web", "at_most_percent": 1}]}
    model = fit(context(both))
    assert set(model.guards) == {"code", "web"}
    predicted = model.predict(SPACE.almr, SPACE.lr)
    alone = [
        gain.ObjectiveModel(model.objective, {name: guard}).predict(SPACE.almr, SPACE.lr).allowed
        for name, guard in model.guards.items()
    ]
    assert predicted.allowed == pytest.approx(alone[0] * alone[1])
    margins = model.guard_margin(SPACE.almr, SPACE.lr)
    assert margins.argmin() != margins.argmax()
    assert (predicted.allowed[margins > 3] > 0.99).all()
    assert (predicted.allowed[margins < -3] < 0.01).all()


@pytest.mark.parametrize("strategy", ["surface", *OTHERS])
def test_a_search_begins_where_no_source_has_been_measured(tmp_path: Path, strategy: str) -> None:
    """Of trials that failed or diverged, and of none."""
    search = {"strategy": strategy, "trials": 12}
    of = study(search=search, objective={"weights": {"code": 1, "additional": 1}, **CODE})
    lost = {"status": Status.DIVERGED, "reason": "not finite", "loss": {}, "sources": {}}
    write(tmp_path, of, [record(of, 0.5, 1e-3, **lost)])
    for number in (0, 6):
        begun = search_context(Run(tmp_path), of)
        found = ask(strategy, SearchContext(begun.table, begun.goal, SPACE, index=number, seed=0))
        assert (found.almr, found.lr) in SPACE.cells


def test_a_search_and_status_know_the_objective_of_sources(tmp_path: Path) -> None:
    of = study(objective={"weights": {"code": 1, "additional": 1}, **CODE})
    made = records(of)
    write(tmp_path, of, made)
    found = search_context(Run(tmp_path), of)
    values = found.goal.of_trials(found.table).to_numpy()
    assert found.goal.weights == {"original": 0.0, "additional": 0.5, "code": 0.5}
    best = status_json(Run(tmp_path))["best"]
    assert best["objective"] == pytest.approx(np.nanmin(values))
    assert (best["almr"], best["lr"]) == tuple(found.table[["almr", "lr"]].iloc[int(np.nanargmin(values))])


def test_a_table_is_replayed_under_a_guard_of_a_source() -> None:
    table = tables.from_records(records(study()))
    measured = MeasuredTable.of(table, Objective.model_validate(CODE))
    assert measured.over_the_guard > 0
    best = measured.cells.iloc[int(np.nanargmin(measured.values))]
    assert best["almr"] <= 0.5
    assert losses(best["almr"], best["lr"])["code"] <= 2.11
    assert measured.goal.losses == ("original", "additional", "code")
    assert MeasuredTable.of(table, Objective.model_validate({"weights": {"web": 1}})).goal == WeightedGoal(
        {"original": 0.0, "additional": 0.0, "web": 1.0}
    )
