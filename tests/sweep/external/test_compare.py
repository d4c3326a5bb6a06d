"""Two trainers on the same trials: when they agree, when they do not, and what that does to the winner."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from known_surfaces import Known
from samples import make_study, study_content
from typer.testing import CliRunner

from analysis.fit.fit import fit_study
from sweep import cli
from sweep.external.compare import bounds, judge, sides, text
from sweep.external.compare import compare as comparing
from sweep.external.compare.bounds import ByNoise, PairsOf
from sweep.external.compare.compare import ComparedRun
from sweep.external.compare.result import TrainerComparison
from sweep.store.run import Run
from sweep.study import InputError, Record, Study
from sweep.study.sections.grid import Grid
from sweep.study.sections.recipe.trainer import TrainerChoice
from sweep.verbs.commands.terminal import REFUSED
from trainers.trials import recorded

DENSE = Path(__file__).parents[2] / "data" / "dense.csv"
ALMRS, LRS = [0.1, 0.3, 0.5, 0.7, 0.9], [1e-5, 3e-5, 1e-4, 3e-4, 1e-3]
NOISE = 0.002  # nats
MEGATRON = TrainerChoice.model_validate("megatron")


def study(**changes: Any) -> Study:
    return make_study(**{"grid": {"almr": ALMRS, "lr": LRS, "seeds": [3, 4]}} | changes)


def side(folder: Path, of: Study, known: Known, stream: int, shift: float = 0.0, **changes: Any) -> ComparedRun:
    """A finished run of one trainer; `changes` of the record of its first trial."""
    random, run = np.random.default_rng(stream), Run(folder)
    run.write(run.files.study, yaml.safe_dump({}))
    for i, trial in enumerate(of.grid_trials):
        losses = {
            name: float(loss) + shift + NOISE * random.standard_normal()
            for name, loss in known.losses(trial.almr, trial.lr).items()
        }
        content = trial.model_dump() | {"trial_id": trial.id, "fingerprint": of.fingerprint, "attempt": 1}
        content |= {"status": "complete", "loss": losses, "base_loss": {"original": 4.0, "additional": 6.0}}
        content |= {"trainer": {"name": of.trainer.name}, "seconds": 2.0}
        record = Record.model_validate(content | (changes if i == 0 else {}))
        run.write(run.files.trial(trial.id).record, record.model_dump_json())
    return ComparedRun.of(of, run)


def compared(folder: Path, second: Known, bound: float | None = None, **more: Any) -> TrainerComparison:
    both = sides.of(study(), MEGATRON, 9)
    made = [side(folder / "a", both[0], Known(), 1), side(folder / "b", both[1], second, 2, **more)]
    return comparing.compare(study(), made, None, bound)


@pytest.fixture(scope="module")
def equal(tmp_path_factory: pytest.TempPathFactory) -> TrainerComparison:
    return compared(tmp_path_factory.mktemp("equal"), Known())


@pytest.fixture
def unfitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit takes a second."""
    monkeypatch.setattr(comparing, "_fits", lambda made: ([], "not fitted"))


def test_two_trainers_of_one_surface_agree_and_the_winner_holds(equal: TrainerComparison) -> None:
    assert equal.agree, equal.faults()
    assert equal.winner
    assert equal.winner.holds
    assert len(equal.trials) == 9
    assert [one.pairs for one in equal.differences] == [9, 9]


def test_another_best_lr_is_another_winner_and_costs_what_the_surface_says(
    tmp_path: Path, equal: TrainerComparison
) -> None:
    moved = Known(lr=4e-4, steepness=0.05)
    other = side(tmp_path, sides.of(study(), MEGATRON, 9)[1], moved, 2)
    fit = fit_study(other.study, other.table)
    assert equal.winner
    at = equal.winner.winners[0]  # of the first trainer
    found = judge.winners(SimpleNamespace(winner=at, optima=fit.optima, refusals=[]), fit, 0.005)
    truth = float(moved.mean(at.almr, at.lr)) - 3.5
    assert found.costs[0]
    assert found.costs[0].nats == pytest.approx(truth, abs=0.3 * truth)
    assert found.holds is False
    said = text.verdict(equal.model_copy(update={"winner": found}), str)
    assert said.endswith("the winner of one is not that of the other")


@pytest.mark.usefixtures("unfitted")
def test_a_shift_is_a_difference_that_may_leave_the_winner(tmp_path: Path, equal: TrainerComparison) -> None:
    found = compared(tmp_path, Known(), shift=0.06)
    assert [one.mean for one in found.differences] == pytest.approx([0.06] * 2, abs=4 * NOISE)
    with_winner = found.model_copy(update={"winner": equal.winner})
    assert text.verdict(with_winner, lambda language: f"the {language}") == (
        "DISAGREE: native and megatron, 9 trials each: the original losses differ by more than the bounds; the "
        "additional losses differ by more than the bounds; yet the winner holds"
    )


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_trial_that_ends_otherwise_is_a_difference(tmp_path: Path, status: str) -> None:
    found = compared(tmp_path, Known(), bound=0.1, status=status, reason="loss 9", loss={})
    assert found.faults() == ["1 of 9 trials ended otherwise"]
    assert found.no_winner
    assert "8 usable trials" in found.no_winner  # a surface needs 9
    [said] = [line for line in text.lines(found, str) if line.startswith("ALMR 0.30, LR 3e-5:")]
    assert said.endswith(f"complete with native, {status} with megatron (loss 9)")


@pytest.mark.usefixtures("unfitted")
def test_a_stated_bound_is_that_of_every_difference(tmp_path: Path) -> None:
    strict, wide = (compared(tmp_path / str(bound), Known(), shift=0.01, bound=bound) for bound in (0.005, 0.5))
    assert not strict.agree
    assert wide.agree
    assert {one.largest_bound for one in wide.differences} == {0.5}


def test_other_losses_of_the_base_model_are_named() -> None:
    frame = pd.DataFrame([(0.5, 1e-4, 0, "complete", None, None, 1.0)])
    frame.columns = [*judge.POINT, "status", "reason", "excluded", "seconds"]
    first = frame.assign(loss_original=3.0, loss_additional=4.0, base_loss_original=3.5, base_loss_additional=np.nan)
    paired = judge.pairs(first, first.assign(base_loss_original=3.503))
    one, other = judge.differences(paired, bounds.by_default)
    assert (one.same_base, one.within) == (False, True)
    assert other.base is None


@settings(max_examples=20)
@given(stream=st.integers(0, 10**6))
def test_trainers_that_agree_rarely_seem_not_to(stream: int) -> None:
    """40 comparisons of 9 pairs: the differences of two trainers' noise, and of their orders of the text."""
    random, count = np.random.default_rng(stream), 0
    allowed = ByNoise(lambda name, almrs, lrs: np.full(len(almrs), 0.01))
    of_each, of_mean = allowed("original", PairsOf(np.zeros(9), np.ones(9), np.ones(9)))
    for _ in range(40):
        order = random.normal(0, bounds.ORDER * 0.01, (2, 2, 1))  # trainer, language, trial
        apart = np.diff(order + random.normal(0, 0.01, (2, 2, 9)), axis=0)[0]
        count += bool((np.abs(apart) > of_each).any() or (np.abs(apart.mean(axis=1)) > of_mean).any())
    assert count <= 9  # of 40 at most 5 % in the mean: more in one of 10,000 draws


@pytest.mark.parametrize(
    "allowed",
    [ByNoise(lambda name, almrs, lrs: np.full(len(almrs), 0.0039)), bounds.by_default],  # 0.0039: of the demo's fit
    ids=["by the demo's noise", "by default"],
)
def test_two_seeds_of_a_real_sweep_agree_wherever_they_are_compared(allowed: bounds.Bounds) -> None:
    """As two trainers do that order the text otherwise: see tests/data/dense.csv, whose recipe is the demo's."""
    table = pd.read_csv(DENSE)
    seeds = [table[table["seed"] == seed].assign(seed=0) for seed in (0, 1)]
    almrs, lrs = sorted(table["almr"].unique()), sorted(table["lr"].unique())
    for few, wide in itertools.product(itertools.combinations(almrs[1::2], 3), [lrs[:3], lrs[1:6:2]]):
        first, second = (s[s["almr"].isin(few) & s["lr"].isin(wide)] for s in seeds)
        assert all(one.within for one in judge.differences(judge.pairs(first, second), allowed))
        shifted = second.assign(loss_original=second["loss_original"] + 0.1)
        assert not all(one.within for one in judge.differences(judge.pairs(first, shifted), allowed))


@pytest.mark.parametrize(
    ("names", "seeds", "order"),
    [(("native", "torchtitan"), 1, 0.0), (("native", "command"), 1, 4.0), (("megatron", "native"), 2, 1.0)],
)
def test_bounds_are_wider_where_the_order_of_the_text_may_differ(names: Any, seeds: int, order: float) -> None:
    assert bounds.order(names, seeds) == order


@given(count=st.integers(1, 12), last=st.integers(0, 30))
def test_chosen_values_are_distinct_and_even(count: int, last: int) -> None:
    count = min(count, last + 1)
    found = sides.even(range(last + 1), count)
    assert len(set(found)) == count
    assert list(found) == sorted(found)
    gaps = np.diff([*found])
    assert count < 3 or gaps.max() - gaps.min() <= 1
    assert abs(found[0] - (last - found[-1])) <= 1


@pytest.mark.parametrize(
    ("trials", "almrs", "lrs"),
    [
        (9, [0.3, 0.5, 0.7], [3e-5, 1e-4, 3e-4]),
        (4, [0.3, 0.7], [3e-5, 3e-4]),
        (12, [0.3, 0.5, 0.7], [1e-5, 3e-5, 1e-4, 3e-4]),
        (25, ALMRS, LRS),
    ],
)
def test_the_trials_are_chosen_from_the_grid(trials: int, almrs: list[float], lrs: list[float]) -> None:
    grid = sides.chosen(study().grid, trials)
    assert ([*grid.almr], [*grid.lrs], grid.seeds) == (almrs, lrs, (3,))


def test_one_almr_gives_more_lrs() -> None:
    assert sides.chosen(Grid(almr=(0.5,), lr=tuple(LRS)), 4).lrs == (1e-5, 3e-5, 1e-4, 3e-4)


def test_both_sides_differ_by_their_trainer_alone() -> None:
    first, second = sides.of(study(keep="all"), MEGATRON, 9)
    assert (first.name, second.name) == ("small-compare-native", "small-compare-megatron")
    assert first.model_copy(update={"name": "x", "trainer": MEGATRON}) == second.model_copy(update={"name": "x"})
    assert first.keep == "none"
    newer = TrainerChoice.model_validate({"name": "megatron", "environment": "/newer"})
    assert [one.name for one in sides.of(study(trainer="megatron"), newer, 9)][1] == "small-compare-megatron-2"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: sides.of(study(), TrainerChoice(), 9), "both trainers are native: name another"),
        (lambda: sides.of(study(), MEGATRON, 1), "--trials 1: write 2 or more"),
        (lambda: sides.other("command"), "--with command: name a study file"),
        (lambda: sides.other("megatrom"), "--with megatrom: no such trainer or study file; give one of native, "),
    ],
)
def test_what_cannot_be_compared_is_refused(call: Any, says: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value).startswith(says)


def test_a_trainer_may_be_that_of_another_study(tmp_path: Path) -> None:
    path = tmp_path / "theirs.yaml"
    path.write_text(yaml.safe_dump(study_content(trainer={"name": "command", "command": ["python", "train.py"]})))
    assert sides.other(str(path)).command[0] == "python"


def test_the_page_is_a_table_of_both(equal: TrainerComparison) -> None:
    written = text.page(equal, str)
    heads = [head.strip() for head in written.splitlines()[2].strip("|").split("|")]
    assert heads[2:5] == ["original, native", "original, megatron", "original, difference"]
    rows = [line for line in written.splitlines() if line.startswith("| ")]
    assert len({len(row) for row in rows}) == 1
    assert len(rows) == 10
    assert TrainerComparison.model_validate_json(equal.model_dump_json()) == equal


def answered(study: Study, run: Run, make_queue: Any, watch: Any, address: str | None = None) -> None:
    """Stands for Ray: the trials of a replay that are left."""
    for trial in run.left(study.grid_trials):
        run.start(trial, study)
        run.finish(recorded.run_trial(study, trial))


def test_a_study_is_compared_and_compared_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a table that both trainers made. Four trials are too few for a fit, which would take a second."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sweep.controller.run_trials", answered)
    known, table = Known(), Path("both.csv")
    rows = [
        {"almr": almr, "lr": lr, "seed": 0, "trainer": trainer}
        | {f"loss_{name}": float(loss) for name, loss in known.losses(almr, lr).items()}
        for almr, lr, trainer in itertools.product(ALMRS, LRS, ("native", "megatron"))
    ]
    pd.DataFrame(rows).to_csv(table, index=False)
    content = study_content(grid={"almr": ALMRS, "lr": LRS}, replay={"table": str(table)}, trainer="megatron")
    Path("study.yaml").write_text(yaml.safe_dump(content))
    command = ["trainer", "compare", "study.yaml", "--trials", "4"]
    first = CliRunner().invoke(cli.app, command, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    assert "megatron and native: 4 trials each, ALMR 0.30, 0.70 x LR 3e-5, 3e-4, seed 0" in first.output
    folder = Path("runs/small-compare-megatron")
    page = (folder / "comparison.md").read_text()
    assert page.startswith("# AGREE: the losses of megatron and native agree within the bounds, 4 trials each")
    assert "+0.0000" not in page
    assert "-0.0000" not in page
    pd.DataFrame(rows).drop(columns="trainer").to_csv(table.with_name("one.csv"), index=False)
    Path("one.yaml").write_text(yaml.safe_dump(content | {"replay": {"table": "one.csv"}}))
    refused = CliRunner().invoke(cli.app, ["trainer", "compare", "one.yaml", "--trials", "4"])
    assert "one.csv: does not say that megatron trained almr=0.30" in str(refused.exception)
    record = next(folder.glob("trials/*/record.json"))
    other = json.loads(record.read_text())
    record.write_text(json.dumps(other | {"loss": {"original": 9.0, "additional": 9.0}}))
    again = CliRunner().invoke(cli.app, [*command, "--json"])
    assert again.exit_code == REFUSED
    assert "small-compare-megatron: 4 trials, 0 to run" in " ".join(again.stderr.split())
    assert json.loads(again.stdout)["agree"] is False
