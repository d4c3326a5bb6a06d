"""What is said of a search: planned, half done, ended early; and that a grid that was run whole still grows."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from samples import bowl_csv, make_study, study_content
from searches import GRID, LOW, Driver, searching
from typer.testing import CliRunner

from sweep import cli
from sweep.store.run import Run
from sweep.study import InputError, Objective, Study, Trial
from sweep.study.record import PerLanguage
from sweep.study.sections.content import Replay
from sweep.trials import also
from sweep.trials.progress import RunProgress
from sweep.trials.queue import Queue, Turn
from sweep.verbs.inspection.status import status_json
from sweep.verbs.live import text
from sweep.verbs.live.display import Display
from sweep.verbs.running import run as sweep_run

SEARCH = {"strategy": "tpe", "trials": 15}


def said(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def expecting(total: int) -> RunProgress:
    """Of a run in which nothing has begun."""
    return RunProgress([], [], total, [])


def planned(folder: Path, *more: str, **search: Any) -> str:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study_content(grid=GRID, search=SEARCH | search)))
    return " ".join(said("plan", str(path), "--runs", str(folder), *more).split())


def test_a_plan_says_how_many_trials_are_taken_from_how_many_cells(tmp_path: Path) -> None:
    text = planned(tmp_path)
    assert "15 trials by search (tpe) out of 25 cells, 60 % of the grid's tokens" in text
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


def test_status_and_display_say_what_a_launch_now_is_expected_to_lose(tmp_path: Path) -> None:
    driver = Driver(searching(strategy="surface", trials=12), tmp_path / "small")
    driver.go()
    now = json.loads(said("status", "small", "--runs", str(tmp_path), "--json"))
    last = max(driver.run.proposals(driver.study), key=lambda request: request.proposed.index)
    assert 0 <= now["launch_loss"] == last.proposed.launch_loss
    assert re.search(
        r"; a launch now is expected to lose 0\.\d+ nats", said("status", "small", "--runs", str(tmp_path))
    )
    lines = io.StringIO()
    display = Display(Console(file=lines, width=300), driver.study, driver.run, expecting(12))
    for request in driver.run.proposals(driver.study):
        display.started(request.trial)
        display.ended(driver.run.record(request.trial))
    said_so = ["a launch now is expected to lose" in line for line in lines.getvalue().splitlines()]
    assert said_so[0] is False
    assert said_so[-1] is True


@pytest.mark.slow
def test_bounds_that_are_given_to_a_grid_that_was_run_make_it_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweep import controller

    monkeypatch.setattr(controller, "run_trials", by_hand)
    grid = searching(LOW, strategy="grid", trials=None).model_copy(update={"replay": by_hand_table(tmp_path)})
    run = Run(tmp_path / "small")
    sweep_run.run(grid, run, Console(quiet=True))
    assert len(run.requests()) == 15
    bounded = searching(LOW, strategy="grid", trials=20, bounds={"lr": [1e-5, 1e-3]})
    sweep_run.run(bounded.model_copy(update={"replay": grid.replay}), run, Console(quiet=True))
    assert sum(request.lr > 4e-5 for request in run.requests()) == 5


def by_hand_table(folder: Path) -> Replay:
    return Replay(table=str(bowl_csv(folder / "table.csv", [0.5], [1e-4])))


def by_hand(study: Study, run: Run, make_queue: Callable[[int], Queue], watch: Any, address: str | None) -> None:
    Driver(study, run.folder, room=2).go()


def never(*arguments: Any) -> None:
    raise AssertionError("there is nothing to run")


@pytest.mark.slow
@pytest.mark.parametrize(
    "search",
    [{"tolerance": 10.0, "trials": 20}, {"strategy": "grid", "trials": 40, "bounds": {"lr": [1e-6, 1e-2]}}],
    ids=["tolerance", "grown"],
)
def test_what_the_records_say_is_over_starts_no_ray(
    search: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweep import controller

    study, run = searching(**search).model_copy(update={"replay": by_hand_table(tmp_path)}), Run(tmp_path / "small")
    monkeypatch.setattr(controller, "run_trials", by_hand)
    sweep_run.run(study, run, Console(quiet=True))
    monkeypatch.setattr(controller, "run_trials", never)
    before = len(run.requests())
    sweep_run.run(study, run, Console(quiet=True))
    assert len(run.requests()) == before
    if study.search.proposes:
        monkeypatch.setattr(controller, "run_trials", by_hand)
        more = searching(trials=before + 1).model_copy(update={"replay": study.replay})
        sweep_run.run(more, run, Console(quiet=True))
        assert len(run.requests()) == before + 1


@pytest.mark.slow
def test_a_broken_state_of_a_search_with_a_spent_budget_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweep import controller

    study, run = searching(trials=9).model_copy(update={"replay": by_hand_table(tmp_path)}), Run(tmp_path / "small")
    monkeypatch.setattr(controller, "run_trials", by_hand)
    sweep_run.run(study, run, Console(quiet=True))
    before = run.search_state()
    assert before
    run.files.search.write_text('{"half": ')
    monkeypatch.setattr(controller, "run_trials", never)
    sweep_run.run(study, run, Console(quiet=True))
    assert run.search_state() == before.model_copy(update={"at_once": 1})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


GROWING = {"strategy": "grid", "trials": 40, "bounds": {"lr": [1e-6, 1e-2]}}


@pytest.mark.slow
@pytest.mark.parametrize("search", [GROWING, SEARCH, {"tolerance": 10.0, "trials": 20}], ids=["grid", "tpe", "surface"])
def test_asking_whether_a_search_is_finished_writes_nothing(search: dict[str, Any], tmp_path: Path) -> None:
    """Neither while trials are left, nor where the next one would be a new proposal, nor at the end."""
    driver = Driver(searching(LOW, **search), tmp_path, room=1, at_once=1)
    answers = []
    for events in (0, 4, 26, 5, 10**6):  # at 30 the grid is run, and only cells beyond it are left
        driver.go(events=events)
        before, queue = contents(tmp_path), driver._queue()
        answers.append(queue.finished())
        assert queue.finished() == answers[-1]
        assert contents(tmp_path) == before
        assert isinstance(queue.next(), Turn) == answers[-1]
    assert answers[:2] == [False, False]
    assert answers[-1]


def test_a_plan_says_how_far_a_grid_may_grow(tmp_path: Path) -> None:
    search = GROWING
    assert "the trials may extend to ALMR 0.10 to 0.90, LR 1e-6 to 1e-2 (40 trials in all)" in planned(
        tmp_path, **search
    )
    expected = {"almr": [0.1, 0.9], "lr": [1e-6, 1e-2], "trials": 40}
    assert json.loads(planned(tmp_path, "--json", **search))["may_grow_to"] == expected
    assert json.loads(planned(tmp_path, "--json"))["may_grow_to"] is None
    assert "may extend" not in planned(tmp_path)


def test_a_search_of_too_few_cells_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its grid has 4 cells to search, a surface needs 9") as raised:
        sweep_run.run(searching({"almr": [0.1, 0.9], "lr": [1e-5, 1e-4]}), Run(tmp_path), Console(quiet=True))
    assert len(str(raised.value).splitlines()) == 1


def test_what_is_shown_of_a_grid_that_grows_counts_what_was_added(tmp_path: Path) -> None:
    study, run = searching(LOW, strategy="grid", trials=20, bounds={"lr": [1e-5, 1e-3]}), Run(tmp_path)
    driver = Driver(study, tmp_path)
    trials = [Trial(almr=0.1, lr=lr, seed=0) for lr in (1e-5, 2e-5, 4e-5)]
    lines = io.StringIO()
    display = Display(Console(file=lines), study, run, expecting(2))
    for trial in trials:
        display.started(trial)
        display.ended(driver._record(trial))
    assert [line.split()[2] for line in lines.getvalue().splitlines()] == ["[1/2]", "[2/2]", "[3/3]"]


def test_a_trial_that_breaks_a_guard_says_so(tmp_path: Path) -> None:
    study = searching(**SEARCH).model_copy(update={"objective": Objective(forgetting_guard_percent=0)})
    run, lines = Run(tmp_path / "guarded"), io.StringIO()
    record = Driver(searching(**SEARCH), tmp_path / "small")._record(Trial(almr=0.9, lr=1e-3, seed=0))
    base = PerLanguage(original=1e-3, additional=9)
    Display(Console(file=lines), study, run, expecting(2)).ended(record.model_copy(update={"base_loss": base}))
    over = f"over the guard of original ({record.losses()['original']:.4f} > 0.0010)"
    assert f"complete: {over}" in " ".join(lines.getvalue().split())


class Watched(Driver):
    """A sweep beside its display, whose counts are compared with the files of the run whenever a trial ends."""

    def watch(self) -> list[tuple[int, int, int]]:
        self.display = Display(Console(quiet=True), self.study, self.run, RunProgress.of(self.study, self.run))
        self.counts: list[tuple[int, int, int]] = []
        self.go()
        return self.counts

    def _end(self, queue: Queue, flight: list[Trial], trial: Trial) -> None:
        for one in flight:
            if one.id not in self.display.running:
                self.display.started(one)
        super()._end(queue, flight, trial)
        record = self.run.record(trial)
        assert record
        self.display.ended(record)
        shown = re.match(r"(\d+) of (\d+) trials done, (\d+) running, (\d+) waiting", text.counts(self.display.now()))
        assert shown
        done, total, running, left = map(int, shown.groups())
        now, status = RunProgress.of(self.study, self.run), status_json(self.run)
        assert (done, running) == (len(now.records), len(flight))
        assert (done + running + left, running + left) == (now.total, now.to_run)
        assert (status["trials"], status["left"], status["complete"]) == (now.total, now.to_run, done)
        assert total == now.total
        self.counts.append((done, running, left))


@pytest.mark.parametrize(
    "search",
    [None, {"trials": 9}, {"tokens": 9 * 2048}, {"gpu_hours": 9.0}, {"strategy": "surface", "tokens": 9 * 2048}],
)
@pytest.mark.parametrize("room", [1, 4])
def test_display_and_status_count_the_trials_that_are_named_with_also(
    tmp_path: Path, search: dict[str, Any] | None, room: int
) -> None:
    """In total, done and left, from the first trial that ends to the last, beside each kind of budget."""
    own = {"search": {"strategy": "random"} | search} if search else {}
    grid = GRID if search else GRID | {"almr": [0.1, 0.5, 0.9], "lr": [1e-5, 1e-4, 1e-3]}
    study = make_study(grid=grid, resources={"gpus_per_node": 8}, **own)
    named = also.read(["0.65:3.19e-4,0.5:1e-4:1,0.95:2e-4"])
    also.add(study, Run(tmp_path), also.find(study, Run(tmp_path), named).new)
    driver = Watched(study, tmp_path, at_once=room, room=room, took=lambda trial: {"gpu_hours": 1.0})
    counts = driver.watch()
    assert counts[-1] == (12, 0, 0)
    assert len(json.loads(json.dumps(status_json(Run(tmp_path))))["also"]) == 3
