"""What the page computes in the browser against what the fit computes in Python."""

import re

import node
import numpy as np
import pytest
from several_sources import records, study

from analysis.decision.objectives import GuardedGoal, WeightedGoal
from analysis.decision.winner import choose
from analysis.fit.fit import fit_study
from analysis.fit.grid import SurfaceGrid
from analysis.report import data as page_data
from analysis.report import history, live, page, trials
from analysis.table import table as tables
from analysis.transfer import cost
from sweep.study import numbers

pytestmark = node.needs_node
LEVEL = 0.9


@pytest.fixture(scope="module")
def sources():
    of = study(objective={"weights": {"code": 1, "additional": 1}})
    return fit_study(of, tables.from_records(records(of)))


def shown(fit, weights, bounds):
    """The winner of another objective on the fit's surfaces, by the page and by the fit itself."""
    grid = page_data._grid(SurfaceGrid.of(fit))
    quantiles = page_data.of_fit(fit, _columns(fit), page.TEMPLATE, None, [], "")["quantiles"]
    call = "winnerOf(of, given.weights, given.bounds, given.quantiles)"
    lattice = "finer(latticeOf(given.grid))" if bounds else "latticeOf(given.grid)"
    found = node.run(f"(of => {call})({lattice})", grid=grid, weights=weights, bounds=bounds, quantiles=quantiles)
    goal = GuardedGoal(bounds, LEVEL, weights) if bounds else WeightedGoal(weights)
    on = fit.lattice.coarse.finer() if bounds else fit.lattice.coarse
    return found, choose(goal.optima(on), on, LEVEL)


def _columns(fit):
    return trials.columns(trials.by_objective(fit.table, None), [], page.TEMPLATE, of_run=False)


@pytest.mark.parametrize("weight", [0.0, 0.05, 0.3, 0.5, 0.85, 1.0])
def test_the_winner_of_other_weights_is_that_of_the_fit(fitted, weight):
    found, expected = shown(fitted, {"original": 1 - weight, "additional": weight}, {})
    assert found["almr"] == pytest.approx(expected.almr, abs=1e-9)
    assert found["lr"] == pytest.approx(expected.lr, rel=1e-9)
    assert found["objective"] == pytest.approx(expected.objective, abs=1e-12)
    assert found["interval"] == pytest.approx(list(expected.objective_interval.model_dump().values()), abs=1e-12)
    assert found["losses"] == pytest.approx({name: one.mean for name, one in expected.losses.items()}, abs=1e-12)


@pytest.mark.parametrize("bound", [3.25, 3.3, 3.4, 3.0])
def test_the_winner_under_a_forgetting_guard_is_that_of_the_fit(fitted, bound):
    found, expected = shown(fitted, {"additional": 1.0}, {"original": bound})
    assert found["almr"] == pytest.approx(expected.almr, abs=1e-9)
    assert found["lr"] == pytest.approx(expected.lr, rel=1e-9)
    assert found["objective"] == pytest.approx(expected.objective, abs=1e-10)
    assert found["losses"] == pytest.approx({name: one.mean for name, one in expected.losses.items()}, abs=1e-10)
    assert found["kept"] is (bound > 3.2)


def stated_of(data, control, moved=False):
    """What the page's controls, all at `control`, state of an objective, and whether it is the fit's."""
    of = f"const page = {{moved: {str(moved).lower()}, lattice: {{mean: {{original: 1, additional: 1}}}}}};"
    ids = f"const byId = (id) => ({{checked: true, value: '{control}'}});"
    script = (page.TEMPLATE / "what_if.js").read_text(encoding="utf-8")
    body = f"const data = given.data; {of} {ids} {script}\nconst aim = aimOf(); return [aim, sameAsFit(aim)];"
    return node.run(f"(() => {{ {body} }})()", data=data)


def aim(percent, guards):
    """What the page's controls state for a fit under a forgetting guard, and whether that is the fit's objective."""
    bounds = {"original": 3.0 * (1 + percent / 100)} | {name: 2.0 * (1 + by / 100) for name, by in guards.items()}
    goal = {"weights": {"additional": 1}, "bounds": bounds, "forgetting": percent, "guards": guards}
    data = {"goal": goal, "base": {"original": 3, "code": 2}, "table": "almr fit t.csv"}
    return stated_of(data, control=percent)


@pytest.mark.parametrize(
    ("guards", "options"),
    [({}, "--guard 3"), ({"code": 1}, "--weights additional=1 --guard original=3,code=1")],
)
def test_the_what_if_of_a_forgetting_guard_begins_as_the_fit_with_its_guards_of_sources(guards, options):
    stated, same = aim(3, guards)
    assert same
    assert stated["command"] == f"almr fit t.csv {options}"


def test_the_what_if_begins_as_the_fit_where_no_step_of_a_slider_is():
    """Weights of 2 to 1 began as 0.65 and 0.35, a guard of 0.3 % as one of 0.5 %."""
    weights = {"original": 2 / 3, "additional": 1 / 3}
    goal = {"weights": weights, "bounds": {}, "forgetting": None, "guards": {}}
    data = {"goal": goal, "base": {"original": 3}, "table": "almr fit t.csv"}
    stated, same = stated_of(data, control=0.35)
    assert same
    assert stated["command"] == "almr fit t.csv --weights original=0.6666667,additional=0.3333333"
    guarded = {"weights": {"additional": 1}, "bounds": {"original": 3 * 1.003}, "forgetting": 0.3, "guards": {}}
    stated, same = stated_of(data | {"goal": guarded}, control=0.5)
    assert (same, stated["command"]) == (True, "almr fit t.csv --guard 0.3")
    stated, same = stated_of(data | {"goal": guarded}, control=0.5, moved=True)
    assert (same, stated["command"]) == (False, "almr fit t.csv --guard 0.5")


def test_weights_and_guards_of_sources_give_the_winner_of_the_fit(sources):
    found, expected = shown(sources, {"code": 0.25, "additional": 0.75}, {"code": 2.05})
    assert (found["almr"], found["lr"]) == pytest.approx((expected.almr, expected.lr), rel=1e-9)
    assert {"web", "code", "additional"} <= set(SurfaceGrid.of(sources).losses)


def test_an_lr_that_is_off_costs_what_the_fit_says(fitted):
    grid, winner, half = page_data._grid(SurfaceGrid.of(fitted)), fitted.winner, fitted.file.transfer.lr_cost.half
    call = "costOfLr(latticeOf(given.grid), given.weights, given.almr, given.lr, given.factor)"
    given = {"grid": grid, "weights": fitted.file.weights, "almr": winner.almr, "lr": winner.lr}
    assert node.run(call, **given, factor=0.5) == pytest.approx(half.nats, abs=1e-9)
    assert node.run(call, **given, factor=1e6) is None
    assert cost.ON_SMALL  # the same words stand beside it


def test_numbers_are_written_as_everywhere():
    random = np.random.default_rng(0)
    lrs = [*np.exp(random.uniform(-16, 0, 60)).tolist(), 1e-4, 0.00319, 1.0]
    almrs = [*random.uniform(0, 1, 60).tolist(), 0.0, 1.0, 0.004, 0.996, 0.65, 1e-5]
    call = "[given.lrs.map(lrText), given.almrs.map(almrText), given.lrs.map(v => number(v, 4, true))]"
    written = node.run(call, lrs=lrs, almrs=almrs)
    assert written[0] == [numbers.lr(lr) for lr in lrs]
    assert written[1] == [numbers.almr(almr) for almr in almrs]
    assert written[2] == [numbers.number(lr, 4, sign=True) for lr in lrs]
    assert node.run("[lrText(null), almrText(null), number(NaN)]") == ["–"] * 3


def test_text_for_a_shell_is_quoted():
    assert node.run("""[quoted("a=0.5,b=1"), quoted("a b"), quoted("it's $(x)")]""") == [
        "a=0.5,b=1",
        "'a b'",
        """'it'"'"'s $(x)'""",
    ]


def test_every_script_can_be_parsed_and_is_one_of_the_page():
    assert {path.stem for path in page.TEMPLATE.glob("*.js")} == set(page.SCRIPTS)
    script = page._script()
    assert node.accepts(script) == ""
    assert "</script" not in script
    assert "innerHTML" not in script


def test_the_scripts_types_are_those_of_the_data():
    text = (page.TEMPLATE / "types.d.ts").read_text(encoding="utf-8")
    written = (page_data, trials, history, live)
    for name in (
        "PageData",
        "GridData",
        "GoalData",
        "WinnerData",
        "TrialColumns",
        "Curves",
        "ScoreData",
        "RuleData",
        "WinnerAtBudget",
        "LiveData",
    ):
        [body] = re.findall(rf"interface {name} {{(.*?)}}", text, re.DOTALL)
        model = next(getattr(module, name) for module in written if hasattr(module, name))
        assert set(re.findall(r"(\w+):", body)) == set(model.__annotations__), name
