from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from samples import study_content
from typer.testing import CliRunner

from sweep import cli


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, list(arguments))


@pytest.mark.parametrize("verb", ["plan", "run", "status", "fit", "report", "export", "confirm", "simulate"])
def test_help_fits_a_screen(verb: str) -> None:
    result = invoke(verb, "--help")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) <= 24


def test_plan_prints_what_the_study_asks_for(tmp_path: Path) -> None:
    result = invoke("plan", "demo", "--runs", str(tmp_path))
    assert "30 trials by search (surface) out of " in result.stdout
    assert "0 done, 30 left" in " ".join(result.stdout.split())
    assert "80 steps x 2,048 tokens = 163,840 tokens" in " ".join(result.stdout.split())
    assert not list(tmp_path.iterdir())


def test_plan_as_json_is_the_same(tmp_path: Path) -> None:
    content = json.loads(invoke("plan", "demo", "--runs", str(tmp_path), "--json").stdout)
    assert content["total"] == content["left"] == 30
    assert content["tokens"] == 30 * content["tokens_per_trial"]


def test_plan_warns_where_a_corpus_repeats(tmp_path: Path) -> None:
    corpora = {
        "original": {"embedded": "shakespeare", "tokens": 1e6},
        "additional": {"embedded": "three-kingdoms", "tokens": 1000},
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study_content(corpora=corpora)))
    assert " at ALMR 0.50, 0.90, and repetition moves the best ALMR" in " ".join(
        invoke("plan", str(path)).stdout.split()
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["plan", "nothing.yaml"], "no such study file"),
        (["status", "nothing"], "no such run"),
        (["fit", "nothing"], "no such run"),
        (["report", "nothing"], "no such run"),
        (["export", "nothing"], "no such run"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["almr", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert expected in lines[0]
