"""What is said of a search: planned, half done, ended early; and that a grid that was run whole still grows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from samples import study_content
from searches import GRID, LOW, Driver, searching
from typer.testing import CliRunner

from sweep import cli, sweep_run
from sweep.queue import Queue
from sweep.store import Run
from sweep.study import Replay, Study

SEARCH = {"strategy": "tpe", "trials": 15}


def said(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def planned(folder: Path, *more: str, **search: Any) -> str:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study_content(grid=GRID, search=SEARCH | search)))
    return " ".join(said("plan", str(path), "--runs", str(folder), *more).split())


def test_a_plan_says_how_many_trials_are_taken_from_how_many_cells(tmp_path: Path) -> None:
    text = planned(tmp_path)
    assert "15 trials by search (tpe) out of 25 cells, 60% of the grid's tokens" in text
    assert "0 done, 15 left" in text
    assert "to do" not in text
    assert "out of any point of the range" in planned(tmp_path, space="range")
    content = json.loads(planned(tmp_path, "--json"))
    assert (content["strategy"], content["total"], content["left"], content["trials"]) == ("tpe", 15, 15, [])
    assert content["tokens"] == 15 * content["tokens_per_trial"]


def test_a_plan_of_a_search_that_was_killed_says_what_is_left(tmp_path: Path) -> None:
    driver = Driver(searching(**SEARCH), tmp_path / "small")
    driver.go(events=8)
    done, begun = len(driver.table), 2
    assert len(driver.proposals) == done + begun
    content = json.loads(planned(tmp_path, "--json"))
    assert (content["total"], content["left"]) == (15, 15 - done)
    assert [trial["done"] for trial in content["trials"]].count(True) == done
    assert f"{done} done, {15 - done} left" in planned(tmp_path)
    now = json.loads(said("status", "small", "--runs", str(tmp_path), "--json"))
    assert (now["strategy"], now["trials"], now["complete"], now["left"]) == ("tpe", 15, done, 15 - done)
    assert len(now["begun"]) == begun
    assert now["ended"] is None


def test_the_status_of_a_search_that_ended_early_says_why_and_that_nothing_is_left(tmp_path: Path) -> None:
    driver = Driver(searching(**SEARCH | {"trials": 30}), tmp_path / "small")
    driver.go()
    now = json.loads(said("status", "small", "--runs", str(tmp_path), "--json"))
    assert (now["complete"], now["left"], now["ended"]) == (25, 0, "all 25 cells were run")
    assert "the search ended: all 25 cells were run" in said("status", "small", "--runs", str(tmp_path))


@pytest.mark.slow
def test_bounds_that_are_given_to_a_grid_that_was_run_make_it_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweep import controller

    def by_hand(study: Study, run: Run, make_queue: Callable[[int], Queue], watch: Any, address: str | None) -> None:
        Driver(study, run.folder, room=2).go()

    monkeypatch.setattr(controller, "run_trials", by_hand)
    grid = searching(LOW, strategy="grid", trials=None).model_copy(update={"replay": Replay(table="/by/hand")})
    run = Run(tmp_path / "small")
    sweep_run.run(grid, run, Console(quiet=True), None)
    assert len(run.all_asked()) == 15
    bounded = searching(LOW, strategy="grid", trials=20, bounds={"lr": [1e-5, 1e-3]})
    sweep_run.run(bounded.model_copy(update={"replay": grid.replay}), run, Console(quiet=True), None)
    assert sum(asked.lr > 4e-5 for asked in run.all_asked()) == 5
