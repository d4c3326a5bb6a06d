"""Which trainer made the trials: a fit says it, and never mixes two."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.fit.fit import Fit, fit_study, fit_table
from analysis.report.page import render
from analysis.table import table as tables
from analysis.table import trainers
from analysis.table.import_table import read_table
from sweep.study import InputError, Record, Study
from sweep.verbs.results.verdict import verdict

ROWS = [(almr, lr) for almr in (0.1, 0.5, 0.9) for lr in (1e-4, 3e-4, 1e-3)]
NEW, OLD = "llamafactory 0.9.6, torch 2.7.1", "llamafactory 0.9.5, torch 2.7.1"


def written(path: Path, names: list[str], versions: list[str]) -> Path:
    """A table of a bowl, with a column of trainers under another team's spelling."""
    losses = [3 + (almr - 0.5) ** 2 + abs(lr - 3e-4) * 100 for almr, lr in ROWS]
    frame = pd.DataFrame(ROWS, columns=["almr", "lr"]).assign(loss=losses, Trainer=names, trainer_version=versions)
    frame.to_csv(path, index=False)
    return path


def test_a_table_of_two_trainers_is_refused_and_one_can_be_chosen(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", ["megatron"] * 6 + ["native"] * 3, ["0.16.1"] * 6 + [""] * 3)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert str(caught.value) == (
        f"{path}: the trials are of 2 trainers (megatron: 6, native: 3), and a fit takes those of one: "
        f"choose one with --where trainer=megatron"
    )
    assert trainers.counts(read_table(path, where=["trainer=megatron"])) == {("megatron", "0.16.1"): 6}
    renamed = pd.read_csv(path).rename(columns={"Trainer": "made_by"}).to_csv(tmp_path / "named.csv", index=False)
    assert renamed is None
    with pytest.raises(InputError, match="2 trainers"):
        read_table(tmp_path / "named.csv", "trainer=made_by")


def test_a_table_without_trainers_says_nothing_of_them(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", [""] * 9, [""] * 9)
    assert fit_table(read_table(path)).file.trainers == ()


@given(made=st.lists(st.sampled_from(["native", "megatron", ""]), min_size=9, max_size=9))
def test_two_trainers_are_never_mixed_whoever_made_which_trial(made: list[str]) -> None:
    table = tables.with_status(pd.DataFrame(ROWS, columns=["almr", "lr"]).assign(loss_total=3.0, trainer=made))
    stated = {name for name in made if name}
    if len(stated) < 2:
        trainers.refuse_several(table, "t", "")
        return
    with pytest.raises(InputError) as caught:
        trainers.refuse_several(table, "t", "")
    counted = {name: int(number) for name, number in re.findall(r"(\w+): (\d+)", str(caught.value)) if name in stated}
    assert counted == {name: made.count(name) for name in stated}


def of(record: Record, name: str, version: str = "") -> Record:
    return Record.model_validate(record.model_dump() | {"trainer": {"name": name, "version": version}})


def test_trials_that_the_fit_leaves_out_may_be_of_another_trainer(make_record: Callable[..., Record]) -> None:
    used = [of(make_record(almr, lr, loss={"original": 3, "additional": 4}), "megatron") for almr, lr in ROWS]
    failed = make_record(0.3, 1e-3, status="failed", reason="the worker died")  # by a controller that names no trainer
    assert trainers.names(tables.from_records([*used, failed])) == {"megatron": 9}
    diverged = make_record(0.3, 1e-3, status="diverged", reason="loss 9")  # it bounds the surfaces
    assert trainers.names(tables.from_records([*used, diverged])) == {"megatron": 9, "native": 1}


@pytest.fixture(scope="module")
def two_versions(make_bowl: Callable[..., list[Record]], make_study: Callable[..., Study]) -> Fit:
    records = make_bowl(almrs=(0.1, 0.5, 0.9), lrs=(1e-5, 1e-4, 1e-3), noise=0.001)
    made = [of(one, "llamafactory", NEW if one.almr > 0.8 else OLD) for one in records]
    return fit_study(make_study(trainer="llamafactory"), tables.from_records(made).assign(excluded=None))


def test_a_fit_names_its_trainer_and_warns_of_two_versions(two_versions: Fit) -> None:
    found = two_versions.file
    assert [(one.name, one.version, one.trials) for one in found.trainers] == [
        ("llamafactory", OLD, 6),
        ("llamafactory", NEW, 3),
    ]
    [warned] = [finding.message for finding in found.warnings if finding.code == "versions"]
    assert warned.startswith(f"2 versions of llamafactory trained these trials ({OLD}: 6, {NEW}: 3)")


def test_the_terminal_and_the_report_say_it(two_versions: Fit, tmp_path: Path) -> None:
    said = f"{OLD} (6 trials) and {NEW} (3 trials)"
    assert f"trained by {said}" in verdict(two_versions).splitlines()
    assert f"Trained by {said}." in render(two_versions, tmp_path)


def test_trials_of_our_own_trainer_need_no_line(fitted: Fit, tmp_path: Path) -> None:
    assert [(one.name, one.version, one.trials) for one in fitted.file.trainers] == [("native", "", 31)]
    assert fitted.file.trained_by == ""
    assert "rained by" not in verdict(fitted) + render(fitted, tmp_path)


def test_records_of_two_trainers_in_one_run_are_refused(
    make_bowl: Callable[..., list[Record]], make_study: Callable[..., Study]
) -> None:
    records = [of(one, "native" if one.almr > 0.8 else "megatron") for one in make_bowl()]
    with pytest.raises(InputError, match=r"2 trainers \(megatron: 24, native: 6\).*move the folders of the others"):
        fit_study(make_study(), tables.from_records(records))


def test_a_trial_whose_trainer_is_not_stated_is_warned_of(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", ["megatron"] * 8 + [""], [""] * 9)
    warned = [one.message for one in fit_table(read_table(path)).warnings if one.code == "trainer"]
    assert warned == [
        "the trainer of 1 trial is not stated, beside trials of megatron: a fit takes those of one trainer: fill in "
        "the column trainer"
    ]
