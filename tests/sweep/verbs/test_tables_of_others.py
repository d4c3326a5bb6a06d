"""Tables as other programs write them, through the commands: the right value, or one line."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analysis.table.import_table import read_table
from sweep import cli


@pytest.fixture
def rows() -> list[tuple[float, float, float]]:
    noise = random.Random(0)
    lrs = (1e-5, 2e-5, 4e-5, 8e-5)
    return [(a, lr, round(2 + (a - 0.5) ** 2 + noise.gauss(0, 0.002), 4)) for a in (0.2, 0.4, 0.6, 0.8) for lr in lrs]


def almr(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, arguments)


def test_states_in_optunas_words(rows: list[tuple[float, float, float]], tmp_path: Path) -> None:
    words = ["FAIL", "PRUNED", "RUNNING"]
    states = ["COMPLETE" if i % 5 else words[i // 5 % 3] for i in range(len(rows))]
    path = tmp_path / "optuna_words.csv"
    cells = [",".join(map(str, (*row, state))) for row, state in zip(rows, states, strict=True)]
    path.write_text("\n".join(["almr,lr,loss,state", *cells]))
    result = almr("fit", str(path), "--json")
    found = json.loads(result.stdout)
    assert found["trials"] == {"complete": 12, "diverged": 0, "failed": 2, "excluded": 2}
    assert found["winner"]["almr"] == pytest.approx(0.5, abs=0.03)
    assert result.stderr == "almr: left out: 2 trials that did not finish (1 pruned, 1 running), lines 7, 12\n"


def test_a_spreadsheet_from_abroad(rows: list[tuple[float, float, float]], tmp_path: Path) -> None:
    path = tmp_path / "semicolon.csv"
    cells = [";".join(map(str, row)).replace(".", ",") for row in rows]
    path.write_text("\n".join(["almr;lr;loss", *cells]))
    table = read_table(path)
    assert list(table[["almr", "lr", "loss_total"]].itertuples(index=False, name=None)) == rows


def test_the_lr_alone(tmp_path: Path) -> None:
    path = tmp_path / "lr_alone.csv"
    path.write_text("lr,loss\n" + "".join(f"{1e-6 * 2**i},{2 + 0.02 * (i - 3.3) ** 2}\n" for i in range(8)))
    result = almr("fit", str(path), "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("winner: LR 9.85e-6 (90 % interval ")
    assert result.stderr == "almr: no column holds the ALMR: the fit is of the LR alone\n"
    winner = json.loads((tmp_path / "out" / "fit.json").read_text())["winner"]
    assert winner["lr_interval"]["low"] < 1e-6 * 2**3.3 < winner["lr_interval"]["high"]
    assert winner["almr"] is None
    assert {figure.name for figure in (tmp_path / "out" / "figures").iterdir()} == {"along.png", "along.csv"}
    again = read_table(tmp_path / "out" / "trials.csv")
    assert again["almr"].isna().all()
    assert again["lr"].tolist() == [1e-6 * 2**i for i in range(8)]
    refused = str(almr("simulate", str(path)).exception)
    assert refused.startswith("lr_alone: no row has an ALMR: for a simulation add a column almr, of one value")
