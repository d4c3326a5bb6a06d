"""`almr fit TABLE`: what a team has already run, fitted from its own columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from samples import bowl_csv
from typer.testing import CliRunner

from sweep import cli
from sweep.verbs.commands.terminal import REFUSED
from sweep.verbs.results import fit_folder, rerun

ALMRS, LRS = [0.1, 0.3, 0.5, 0.7, 0.9], [1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2]
NAMES = {"almr": "mix", "lr": "peak_lr", "loss_original": "en_loss", "loss_additional": "zh_loss"}
COLUMNS = "almr=mix,lr=peak_lr,original=en_loss,additional=zh_loss"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A bowl with the minimum of its mean loss inside, under another team's column names."""
    frame = pd.read_csv(bowl_csv(tmp_path / "bowl.csv", ALMRS, LRS))
    path = tmp_path / "theirs.csv"
    frame[list(NAMES)].rename(columns=NAMES).to_csv(path, index=False)
    return path


def fit(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["fit", *arguments])


def refusal(*arguments: str) -> str:
    result = fit(*arguments)
    assert result.exit_code == 1  # the exception that `main` turns into one line and status 2
    return str(result.exception)


def test_another_teams_table_is_fitted_and_nothing_is_written(table: Path) -> None:
    before = sorted(table.parent.rglob("*"))
    result = fit(str(table), "--columns", COLUMNS, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["study"] == "theirs"
    assert ALMRS[0] < found["winner"]["almr"] < ALMRS[-1]
    assert found["trials"] == {"complete": 25, "diverged": 0, "failed": 0, "excluded": 0}
    assert sorted(table.parent.rglob("*")) == before


def test_with_a_folder_it_leaves_the_same_files_as_a_run(table: Path, tmp_path: Path) -> None:
    result = fit(str(table), "--columns", COLUMNS, "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert {"fit.json", "surfaces.json", "trials.csv", "report.html", "figures"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }
    assert "winner: ALMR" in result.stdout
    fit_folder.refuse_foreign(tmp_path / "out", table)  # the same command may be given again


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("trials.csv", None, "its trials.csv is the table"),
        ("trials.csv", "mix,peak_lr\n0.1,1e-3\n", "its trials.csv is not of almr fit"),
        ("report.html", "<html>my report</html>", "its report.html is not of almr fit"),
        ("fit.json", '{"mine": 1}', "its fit.json is not of almr fit"),
        ("trials/one/record.json", "{}", "it holds trials/, as a run does, whose fit"),
    ],
)
def test_a_fit_replaces_no_file_that_no_fit_wrote(table: Path, name: str, content: str | None, says: str) -> None:
    path = table.parent / name
    before = table.read_text() if content is None else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(before)
    given = str(path if content is None else table)
    told = refusal(given, "--columns", COLUMNS, "--out", str(table.parent))
    assert told.startswith(f"--out {table.parent}: {says}")
    assert told.endswith("would be lost: name another folder")
    assert path.read_text() == before
    assert {one.name for one in table.parent.iterdir()} == {"bowl.csv", "theirs.csv", name.partition("/")[0]}


def test_a_fit_may_be_written_beside_a_study(table: Path) -> None:
    table.with_name("study.yaml").write_text("name: small\n")
    table.with_name("trials").mkdir()
    fit_folder.refuse_foreign(table.parent, table)


def test_one_combined_loss_is_enough(table: Path) -> None:
    frame = pd.read_csv(table)
    frame.assign(total=(frame["en_loss"] + frame["zh_loss"]) / 2).drop(columns=["en_loss", "zh_loss"]).to_parquet(
        path := table.with_suffix(".parquet")
    )
    both = json.loads(fit(str(table), "--columns", COLUMNS, "--json").stdout)["winner"]
    one = json.loads(fit(str(path), "--columns", "almr=mix,lr=peak_lr,loss=total", "--json").stdout)["winner"]
    assert one["almr"] == pytest.approx(both["almr"], abs=0.05)
    assert np.log(one["lr"]) == pytest.approx(np.log(both["lr"]), abs=0.15)


def test_weights_and_guard_say_what_is_minimised(table: Path) -> None:
    command = (str(table), "--columns", COLUMNS, "--json")
    equal = json.loads(fit(*command).stdout)
    additional = json.loads(fit(*command, "--weights", "original=1,additional=3").stdout)
    assert additional["weights"] == {"original": 0.25, "additional": 0.75}
    assert additional["winner"]["almr"] > equal["winner"]["almr"]

    base = pd.read_csv(table)["en_loss"].min()
    guarded = json.loads(fit(*command, "--guard", "1", "--base", f"original={base}").stdout)
    assert guarded["weights"] is None
    assert guarded["winner"]["losses"]["original"]["mean"] <= base * 1.01 + 1e-6


def test_a_refused_choice_has_its_own_status(table: Path) -> None:
    frame = pd.read_csv(table)
    frame[frame["peak_lr"] < 3e-3].to_csv(table, index=False)  # the best LR is now beyond the highest one
    result = fit(str(table), "--columns", COLUMNS)
    assert result.exit_code == REFUSED
    lines = result.stdout.splitlines()
    assert lines[0].startswith("REFUSED (")
    assert lines[-1] == rerun.IN_A_TABLE
    assert "Suggested trials" in result.stdout


def test_bad_rows_are_named_and_can_be_left_out(table: Path) -> None:
    frame = pd.read_csv(table)
    frame.loc[3, "mix"] = 30.0
    frame.loc[7, "peak_lr"] = 0.0
    frame.to_csv(table, index=False)
    refused = refusal(str(table), "--columns", COLUMNS)
    faults = "line 5: mix 30.0 is outside 0..1 (in percent? divide by 100); line 9: peak_lr 0.0 is not above 0"
    assert refused.startswith(f"{table}: 2 of 25 rows cannot be used: {faults}; correct them")
    result = fit(str(table), "--columns", COLUMNS, "--drop-bad-rows", "--json")
    assert json.loads(result.stdout)["trials"]["excluded"] == 2
    assert result.stderr == f"almr: left out: 2 bad rows, {faults}\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["--weights", "original=1,additional=1", "--guard", "1"],
            "--weights and --guard PERCENT are two objectives",
        ),
        (["--weights", "original"], "--weights original"),
        (["--weights", "english=1"], "english"),
        (["--weights", "original=-1,additional=1"], "--weights"),
        (["--guard", "-1"], "--guard"),
        (["--guard", "1"], "--base original=L"),
        (["--level", "1"], "--level"),
        (["--base", "original=x"], "--base"),
    ],
)
def test_options_that_cannot_be_taken_are_refused(table: Path, options: list[str], expected: str) -> None:
    message = refusal(str(table), "--columns", COLUMNS, *options)
    assert expected in message
    assert len(message.splitlines()) == 1


def test_options_of_a_table_are_refused_for_a_run_and_a_lost_file_is_said(tmp_path: Path) -> None:
    assert "for a table" in refusal("demo", "--weights", "original=1,additional=2", "--runs", str(tmp_path))
    for name in ("lost.csv", "lost.xlsx"):
        assert refusal(str(tmp_path / name)) == f"{tmp_path / name}: no such file"
