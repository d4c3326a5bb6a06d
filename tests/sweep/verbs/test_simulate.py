"""`almr simulate TABLE`: strategies of search on a table that was measured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from known_surfaces import Known, grid, lost, measure
from processes import below, command, running
from typer.testing import CliRunner

from analysis.figures.data.simulation import simulation_info
from analysis.figures.drawing.simulation import draw_simulation
from analysis.search.outcomes import StrategySummary
from sweep import cli
from sweep.verbs.simulation import searches

KEYS = [
    *("strategy", "trials", "repeats", "regret_percent_mean", "regret_percent_median", "regret_percent_p90"),
    *("curve_error", "curve_excess_percent", "tokens", "time"),
]
LIGHT = ("--strategies", "random,grid", "--trials", "6", "--repeats", "1")
QUICK = ("--strategies", "random,grid", "--trials", "6,9", "--repeats", "2")  # surface: in parallel, below


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "_cores", lambda: 1)


@pytest.fixture
def frame() -> pd.DataFrame:
    """25 cells; two at the highest LR diverged."""
    table = measure(Known(almr=0.55, lr=1.3e-4), grid(5, 5), noise=0.001).assign(tokens=1000)
    return lost(table, [19, 24], "diverged").drop(columns="excluded")


@pytest.fixture
def table(frame: pd.DataFrame, tmp_path: Path) -> Path:
    frame.to_csv(path := tmp_path / "theirs.csv", index=False)
    return path


def simulate(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["simulate", *arguments])


def as_json(*arguments: str) -> list[dict[str, Any]]:
    result = simulate(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return list(json.loads(result.stdout))


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: the searches run in the command itself")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP])
def test_its_processes_end_with_it(table: Path, how: signal.Signals) -> None:
    words = ["simulate", str(table), "--trials", "20", "--repeats", "1000"]
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-m", "sweep.cli", *words], start_new_session=True, **pipes)
    processes: list[int] = []
    while sum("spawn_main" in command(pid) for pid in processes) < 2:
        assert process.poll() is None, process.communicate()
        processes = below(process.pid)
    os.killpg(process.pid, how) if how is signal.SIGHUP else process.send_signal(how)
    messages = process.communicate()[1]
    until = time.monotonic() + 10
    while running(processes) and time.monotonic() < until:
        time.sleep(0.02)
    assert not running(processes)
    assert not list(Path("/dev/shm").glob(f"sem.*-{process.pid}-*"))
    if how is signal.SIGHUP:
        assert (process.returncode, messages) == (130, "almr: interrupted; a simulation keeps nothing\n")


def test_a_row_for_each_strategy_and_number_of_trials(table: Path) -> None:
    found = as_json(str(table), *QUICK)
    assert all(list(row) == [*KEYS, "searches"] for row in found[:-1])
    assert list(found[-1]) == KEYS
    assert [[len(search["trials"]) for search in row["searches"]] for row in found[:2]] == [[6, 6], [9, 9]]
    assert all(search["winner"] is None for search in found[0]["searches"]), "6 trials are too few for a fit"
    assert [row["time"] for row in found] == [6, 9] * 2 + [None]
    expected = [(s, n, 2) for s in ("random", "grid") for n in (6, 9)] + [("all cells", 25, 1)]
    assert [(row["strategy"], row["trials"], row["repeats"]) for row in found] == expected
    assert [row["tokens"] for row in found[:2]] == [6000, 9000]
    assert found[-1]["regret_percent_mean"] == 0
    assert all(row["regret_percent_mean"] >= 0 for row in found)
    assert all(row["curve_error"] is None for row in found if row["trials"] < 9)
    assert found[-1]["curve_error"] > 0


def test_a_person_gets_a_table_and_a_folder_its_files(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = simulate(str(table), *QUICK, "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "25 cells, 23 completed, 2 diverged" in result.stdout
    assert "noise floor" not in result.stdout
    assert result.stdout.count("random  ") == 2
    assert " time\n" not in result.stdout
    rows = json.loads((out / "simulate.json").read_text())
    assert list(pd.read_csv(out / "simulate.csv").columns) == KEYS
    assert len(pd.read_csv(out / "simulate.csv")) == len(rows) == 5
    assert (out / "figures" / "simulate.png").read_bytes().startswith(b"\x89PNG")


def test_in_parallel_a_search_takes_less_time(table: Path) -> None:
    options = ("--trials", "12", "--repeats", "1", "--at-once", "4")
    parallel = as_json(str(table), "--strategies", "surface,random", *options)
    assert [row["time"] for row in parallel] == [3, 3, None]
    uneven = as_json(str(table), "--strategies", "random", *options, "--spread", "0.5")
    assert 2 < uneven[0]["time"] < 6
    assert len({trial["ended"] for trial in uneven[0]["searches"][0]["trials"]}) == 12


def test_repeats_of_a_cell_show_the_noise_floor(frame: pd.DataFrame, tmp_path: Path) -> None:
    other = frame.assign(seed=1, loss_original=frame["loss_original"] + np.linspace(0, 0.01, 25))
    pd.concat([frame, other]).to_csv(path := tmp_path / "two.csv", index=False)
    result = simulate(str(path), *LIGHT)
    assert "25 cells" in result.stdout
    assert "noise floor" in result.stdout


def test_one_combined_loss_under_other_names_is_enough(frame: pd.DataFrame, tmp_path: Path) -> None:
    total = (frame["loss_original"] + frame["loss_additional"]) / 2
    one = pd.DataFrame(
        {"mix": frame["almr"], "rate": frame["lr"], "total": total, "size": 8, "status": frame["status"]}
    )
    pd.concat([one, one.assign(size=70)]).to_csv(path := tmp_path / "one.csv", index=False)
    found = as_json(str(path), "--columns", "almr=mix,lr=rate,loss=total", "--where", "size=8", *LIGHT)
    assert len(found) == 3
    assert all(row["tokens"] is None for row in found)


def test_the_widest_table_shows_whole_counts_in_80_columns(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.assign(tokens=163_840).to_csv(path := tmp_path / "large.csv", index=False)
    shown = simulate(str(path), *LIGHT, "--at-once", "8", "--spread", "0.5").stdout
    assert "…" not in shown
    assert "983k" in next(line for line in shown.splitlines() if line.startswith("random"))
    assert any(line.startswith("all cells  ") for line in shown.splitlines())


def test_guard_and_weights_change_what_is_best(table: Path) -> None:
    def best(*options: str) -> str:
        result = simulate(str(table), *LIGHT, *options)
        assert result.exit_code == 0, result.output
        return next(line for line in result.stdout.splitlines() if line.startswith("best cell"))

    assert "ALMR 0.9" in best("--weights", "original=0,additional=1")
    guarded = ("--guard", "2", "--base", "original=3.5")
    assert "ALMR 0.7" in best(*guarded)
    result = simulate(str(table), *LIGHT, *guarded)
    assert "over the guard" in result.stdout


def test_bad_rows_can_be_left_out(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.loc[3, "almr"] = 30.0
    frame.to_csv(path := tmp_path / "bad.csv", index=False)
    assert "line 5" in str(simulate(str(path), *LIGHT).exception)
    result = simulate(str(path), *LIGHT, "--drop-bad-rows")
    assert "24 cells" in result.stdout
    assert "left out" in result.stderr


def test_more_trials_than_cells_are_clipped_and_it_is_said(table: Path) -> None:
    result = simulate(str(table), "--strategies", "grid", "--trials", "9,25,30,60", "--repeats", "1", "--json")
    assert [row["trials"] for row in json.loads(result.stdout)] == [9, 25, 25]
    assert "--trials 30,60: the table has 25 cells" in result.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--strategies", "surface,bayes"], "--strategies: 'bayes' is not one of"),
        (["--trials", "8,0"], "--trials 8,0"),
        (["--trials", "many"], "--trials many"),
        (["--repeats", "0"], "--repeats 0"),
        (["--seed", "-1"], "--seed -1"),
        (["--curve", "1"], "--curve 1"),
        (["--at-once", "0"], "--at-once 0"),
        (["--spread", "-1"], "--spread -1"),
        (["--guard", "1"], "base_loss_original"),
        (["--guard", "1", "--base", "original=1"], "no cell keeps the forgetting guard"),
        (["--where", "almr=0.1"], "cells (almr, lr) completed: a simulation needs 9 or more"),
        (["--weights", "english=1"], "english"),
    ],
)
def test_what_cannot_be_replayed_is_one_line_and_status_2(
    options: list[str],
    expected: str,
    table: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["almr", "simulate", str(table), *options])
    with pytest.raises(SystemExit) as ended:
        cli.run_command()
    [line] = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert line.startswith("almr: ")
    assert expected in line


def test_neither_ray_nor_torch_is_imported(table: Path) -> None:
    arguments = ["simulate", str(table), "--strategies", "surface,tpe,grid", "--trials", "6", "--repeats", "1"]
    code = (
        "import sys; from sweep import cli; from sweep.verbs.simulation import searches; searches._cores = lambda: 1\n"
        f"cli.app({arguments!r}, standalone_mode=False)\n"
        "print({'ray', 'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.slow
def test_in_several_processes_it_finds_the_same(table: Path) -> None:
    alone = as_json(str(table), *LIGHT)
    command = [sys.executable, "-c", "from sweep.cli import main; main()", "simulate", str(table), *LIGHT, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == alone
    assert done.stderr == ""


def row(strategy: str, trials: int, regret: float, error: float | None) -> StrategySummary:
    return StrategySummary(strategy, trials, 20, regret, regret, 2 * regret, error, None, None, trials)


def test_the_figure_shows_each_strategy_and_a_floor_for_what_is_0() -> None:
    rows = [row("surface", 8, 0.3, 0.4), row("surface", 12, 0.0, 0.2), row("grid", 8, 0.04, None)]
    info = simulation_info([*rows, row("all cells", 81, 0, 0.1)], noise_percent=0.05)
    assert [line.strategy for line in info.lines] == ["surface", "grid"]
    assert info.floor == 0.01
    assert info.lines[0].mean.tolist() == [0.3, 0.01]
    assert np.isnan(info.lines[1].curve_error).all()
    assert (info.whole, info.noise_percent, info.repeats) == (0.1, 0.05, 20)
    figure = draw_simulation(info)
    figure.canvas.draw()
    left, right = figure.axes
    assert left.get_yscale() == "log"
    assert left.get_ylim()[0] == 0.01
    assert "0 is drawn at 0.01" in left.get_ylabel()
    assert {"surface", "grid"} <= {text.get_text() for text in figure.legends[0].get_texts()}
    assert right.get_ylim()[0] == 0


def test_where_every_regret_is_0_there_is_still_a_figure() -> None:
    info = simulation_info([row("surface", 8, 0.0, None)], None)
    draw_simulation(info).canvas.draw()
    assert 0 < info.floor < 0.1
