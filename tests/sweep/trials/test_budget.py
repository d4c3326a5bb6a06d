"""A search with a budget of tokens or GPU-hours: what it pays for, what counts, and how it ends and goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import make_study, study_content
from searches import GRID, Driver, last, shuffled

from sweep.planning import warnings
from sweep.planning.plan import plan
from sweep.study import Proposed, Record, Status, Study, Trial
from sweep.study.record import ALSO
from sweep.trials.budget import Budget, spent
from sweep.trials.progress import RunProgress
from sweep.verbs.inspection.status import status, status_json

EACH = 2048  # tokens of a trial of the samples
GPUS = {"gpus_per_node": 8, "gpu": "H100-80GB"}


def searching(resources: dict[str, Any] | None = None, **budget: Any) -> Study:
    search = {"strategy": "random"} | budget
    return make_study(grid=GRID, search=search, resources=GPUS if resources is None else resources)


def hours(of: dict[float, float] | None = None, **others: float) -> Any:
    """What each trial takes, by its LR."""
    return lambda trial: {"gpu_hours": (of or {}).get(trial.lr, others.get("rest", 1.0))}


def record(status: Status = Status.COMPLETE, almr: float = 0.5, **fields: Any) -> Record:
    given = {"trial_id": "x", "fingerprint": "f", "almr": almr, "lr": 1e-3, "seed": 0, "attempt": 1}
    return Record.model_validate(given | {"status": status} | fields)


# ---- what it pays for -------------------------------------------------------------------------------------------


def test_tokens_pay_for_whole_trials_with_their_branches(tmp_path: Path) -> None:
    driver = Driver(searching(tokens=10 * EACH + 1), tmp_path)
    assert len(driver.go()) == 10
    branching = study_content()["training"] | {"schedule": {"name": "wsd", "decay": 0.5}, "horizons": [1024]}
    study = make_study(grid=GRID, search={"strategy": "random", "tokens": 12 * EACH}, training=branching)
    assert study.training.trained_tokens == 2048 + 512  # the branch decays over half of its 4 steps
    assert len(Driver(study, tmp_path / "branching").go()) == 9


def test_a_trial_is_expected_to_take_the_mean_of_the_complete_ones(tmp_path: Path) -> None:
    """10 hours at LR 1e-3 and 4 at others: it stops before the trial that the rest does not pay for."""
    driver = Driver(searching(gpu_hours=50), tmp_path, at_once=1, took=hours({1e-3: 10.0}, rest=4.0))
    driver.go()
    took = [one.gpu_hours or 0 for one in RunProgress.of(driver.study, driver.run).records]
    assert len(set(took)) == 2
    assert sum(took) + sum(took) / len(took) > 50
    *earlier, _ = took  # records are in the order of the proposals, and one runs at a time
    assert sum(earlier) + sum(earlier) / len(earlier) <= 50


@given(costs=st.lists(st.floats(0.5, 8), min_size=1, max_size=12), limit=st.floats(20, 200), running=st.integers(0, 20))
def test_what_runs_counts_as_spent(costs: list[float], limit: float, running: int) -> None:
    records = [record(gpu_hours=cost) for cost in costs]
    found = Budget.of(searching(gpu_hours=limit), records, running)
    assert found is not None
    assert found.more is not None
    assert found.spent == pytest.approx(sum(costs))
    mean = sum(costs) / len(costs)
    if found.more:
        assert found.spent + (running + found.more) * mean <= limit * (1 + 1e-6)
    assert found.spent + (running + found.more + 1) * mean > limit * (1 - 1e-6)


def test_every_outcome_counts_what_it_took() -> None:
    """One that diverged after half of its steps, one that ran out of memory at once, one that the user named beside."""
    of = Budget.of(
        searching(tokens=100 * EACH),
        [
            record(tokens=EACH, trained_tokens=EACH),
            record(Status.DIVERGED, trained_tokens=EACH // 2),
            record(Status.FAILED, trained_tokens=0, reason="CUDA out of memory"),
            record(Status.FAILED),  # of an older version
            record(trained_tokens=EACH, proposed=Proposed(index=4, why=ALSO)),
        ],
        running=2,
    )
    assert of is not None
    assert (of.spent, of.each, of.more) == (1.5 * EACH, EACH, 96)
    of_hours = Budget.of(
        searching(gpu_hours=10),
        [record(gpu_hours=2), record(Status.DIVERGED, gpu_hours=0.5), record(Status.FAILED, gpu_hours=0.25)],
        running=0,
    )
    assert of_hours is not None
    assert (of_hours.spent, of_hours.each, of_hours.more) == (2.75, 2, 3)
    assert spent(of_hours) == ["2.8 of 10.0 GPU-hours spent"]


def test_an_estimate_counts_until_a_trial_has_ended(tmp_path: Path) -> None:
    before = Budget.of(searching(gpu_hours=100), [], 3, expected=10)
    after = Budget.of(searching(gpu_hours=100), [record(gpu_hours=5)], 3, expected=10)
    unknown = Budget.of(searching(gpu_hours=100), [], 3)
    assert [one and one.more for one in (before, after, unknown)] == [7, 16, None]


@pytest.mark.parametrize("space", ["cells", "range"])
def test_a_budget_ends_a_search_whose_trials_all_diverge_and_were_never_estimated(tmp_path: Path, space: str) -> None:
    """No trial has completed, so nothing says what one takes; but what was spent is known."""
    study = searching(gpu_hours=5, space=space)
    driver = Driver(study, tmp_path, at_once=2, diverging=1e-9, took=hours())
    assert len(driver.go(events=40)) in (5, 6)
    assert RunProgress.of(study, driver.run).to_run == 0


# ---- the queue --------------------------------------------------------------------------------------------------


def test_what_ends_for_less_makes_room_in_whatever_order_trials_end(tmp_path: Path) -> None:
    """Half of the trials diverge for a quarter of the tokens: the rest of theirs pays for more trials."""

    def took(trial: Trial) -> dict[str, Any]:
        return {"trained_tokens": EACH // 4 if trial.lr >= 1e-4 else EACH}

    one = Driver(searching(tokens=9 * EACH), tmp_path / "one", at_once=3, diverging=1e-4, took=took)
    one.go()
    used = sum(took(trial)["trained_tokens"] for trial in RunProgress.of(one.study, one.run).trials)
    assert 8 * EACH < used <= 9 * EACH
    assert len(one.table) > 9
    for name, pick in (("last", last), ("shuffled", shuffled(2))):
        other = dataclasses.replace(one, folder=tmp_path / name)
        other.go(pick)
        assert other.proposals == one.proposals


@pytest.mark.parametrize("events", [1, 7, 12])
def test_a_killed_search_honours_what_was_spent(tmp_path: Path, events: int) -> None:
    whole = Driver(searching(gpu_hours=12), tmp_path / "whole", took=hours())
    whole.go()
    killed = dataclasses.replace(whole, folder=tmp_path / "killed")
    killed.go(events=events)
    killed.go()
    assert killed.proposals == whole.proposals
    assert len(whole.table) == 12
    assert RunProgress.of(whole.study, whole.run).to_run == 0
    assert killed.go() == []
    killed.study = searching(gpu_hours=14)
    assert len(killed.go()) == 2


def test_without_an_estimate_only_as_many_as_run_in_parallel_start_before_one_has_ended(tmp_path: Path) -> None:
    driver = Driver(searching(gpu_hours=40), tmp_path, at_once=4, took=hours(rest=10.0))
    driver.go()
    assert len(driver.table) == 4
    state = driver.run.search_state()
    assert state is not None
    assert (state.unit, state.budget, state.asked, state.stopped) == ("gpu_hours", 40, 4, None)


@pytest.mark.parametrize("budget", [{"tokens": 10**6}, {"trials": 20}])
def test_a_search_whose_trials_all_fail_ends_before_its_budget(tmp_path: Path, budget: dict[str, int]) -> None:
    """Such as of a model that fits no GPU: the point is not the cause, and a failed trial takes little of a budget."""
    every = {Trial(almr=a, lr=r, seed=0).id for a in GRID["almr"] for r in searching(tokens=1).grid.lrs}
    driver = Driver(searching(**budget), tmp_path, failing=every, took=lambda trial: {"reason": "out of memory"})
    assert len(driver.go()) in (5, 6)
    assert "the last 5 failed on every try, all of one cause: out of memory" in (driver.fault or "")
    driver.failing = ()
    driver.took = lambda trial: {}
    assert len(driver.go()) > 10  # the failed ones again, and then the search goes on


def test_no_point_that_diverged_or_failed_is_proposed_again(tmp_path: Path) -> None:
    failing = {Trial(almr=0.5, lr=lr, seed=0).id for lr in searching(tokens=1).grid.lrs[:2]}
    driver = Driver(searching(tokens=25 * EACH), tmp_path, diverging=3e-4, failing=failing)
    driver.go()
    points = [(almr, lr) for _, almr, lr, _ in driver.proposals]
    assert len(points) == len(set(points))
    assert {one for one, _ in driver.table.values()} == {"complete", "diverged", "failed"}


# ---- what a user reads ------------------------------------------------------------------------------------------


def test_the_plan_says_how_many_trials_the_budget_pays_for(tmp_path: Path) -> None:
    from rich.console import Console

    from sweep.verbs.plan import text

    def head(study: Study) -> str:
        run = Driver(study, tmp_path / "none").run
        console = Console(width=200)
        with console.capture() as shown:
            console.print(text.plan(study, plan(study, RunProgress.of(study, run), {})))
        return shown.get()

    of_tokens = head(searching(tokens=12 * EACH))
    assert "small: 12 trials by search (random)" in of_tokens
    assert "budget: 0 of 24.6k tokens spent: 12 more trials of 2.05k tokens" in of_tokens
    stated = GPUS | {"tokens_per_second": 0.5}  # 4,096 s, 9.1 GPU-hours
    of_hours = head(searching(stated, gpu_hours=100))
    assert "small: about 10 trials by search" in of_hours
    assert "budget: 0 of 100.0 GPU-hours spent: 10 more trials of 9.1 GPU-hours" in of_hours
    assert "search.gpu_hours 40 pays for about 4 trials, a surface needs 9" in head(searching(stated, gpu_hours=40))
    unknown = head(searching({"gpus_per_node": 8}, gpu_hours=100))
    assert "small: up to 25 trials by search" in unknown
    assert "budget: 0 of 100.0 GPU-hours spent: a trial's are not known before one has ended" in unknown


def test_the_status_says_what_is_spent(tmp_path: Path) -> None:
    driver = Driver(searching(gpu_hours=12), tmp_path, at_once=1, took=hours(rest=1.5))
    driver.go(events=6)  # three trials
    now = status_json(driver.run)
    assert now["budget"] == {"unit": "gpu_hours", "limit": 12, "spent": 4.5, "running": 0, "each": 1.5, "more": 5}
    assert (now["trials"], now["left"]) == (8, 5)
    assert "budget: 4.5 of 12.0 GPU-hours spent" in status(driver.run)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (
            {"strategy": "surface"},
            "strategy surface needs a budget: add trials, as in trials: 24, or tokens, or gpu_hours",
        ),
        ({"strategy": "tpe", "trials": 9, "gpu_hours": 5}, "trials and gpu_hours are 2 budgets: give one of them"),
        ({"tokens": 10**6}, "tokens: only a search has such a budget: leave it out, or name a strategy that searches"),
        ({"strategy": "tpe", "gpu_hours": 5}, "search.gpu_hours: trials use no GPUs: give search.trials or"),
        ({"strategy": "tpe", "gpu_hours": 0}, "greater than 0"),
    ],
)
def test_a_search_has_one_budget_that_it_can_spend(search: dict[str, Any], message: str) -> None:
    with pytest.raises(pydantic.ValidationError) as error:
        make_study(search=search)
    assert message in str(error.value)


def test_a_budget_of_too_few_trials_is_refused() -> None:
    fault = warnings.too_small(searching(tokens=8 * EACH))
    assert fault == "search.tokens is 16,384: 8 trials of 2,048 tokens, a surface needs 9: raise it"
    assert warnings.too_small(searching(tokens=9 * EACH)) is None
    assert warnings.too_small(searching(tokens=8 * EACH), also=1) is None
    assert warnings.too_small(searching(gpu_hours=0.1)) is None  # not known before a trial has ended
