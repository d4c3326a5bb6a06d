from __future__ import annotations

import importlib.metadata
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from samples import study_content
from typer.main import get_command
from typer.testing import CliRunner

from sweep import cli


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, list(arguments))


def names(app: typer.Typer) -> list[str]:
    return [name for command in app.registered_commands if (name := command.callback and command.callback.__name__)]


VERBS, OF_TRAINERS = names(cli.app), names(cli.group)
COMMANDS = [*([verb] for verb in VERBS), *(["trainer", verb] for verb in OF_TRAINERS)]


def test_every_verb_is_there() -> None:
    first, looking = ["plan", "prepare", "run"], ["status", "doctor", "fit", "compare", "simulate", "report", "figures"]
    assert names(cli.app) == first + looking + ["export", "pack", "scores", "watch", "branch", "confirm", "serve"]


@pytest.mark.parametrize("arguments", [[], ["trainer"], *COMMANDS], ids=" ".join)
def test_help_fits_a_screen_and_has_a_short_option(arguments: list[str]) -> None:
    result = invoke(*arguments, "--help")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "..." not in "".join(lines[1:])  # no summary of a verb is cut
    assert invoke(*arguments, "-h").stdout == result.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_examples_of_a_help_text_are_two_commands_that_can_be_parsed(command: list[str]) -> None:
    examples = invoke(*command, "--help").stdout.split("Examples:\n")[1].strip().splitlines()
    assert len(examples) == 2
    for example in examples:
        name, *words = shlex.split(example)
        assert (name, words[: len(command)]) == ("almr", command)
        found: Any = get_command(cli.app)
        for verb in command:
            found = found.commands[verb]
        found.make_context(command[-1], words[len(command) :])


def test_the_version_is_printed() -> None:
    result = invoke("--version")
    assert (result.exit_code, result.stdout) == (0, f"almr {importlib.metadata.version('almr-sweep')}\n")


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
        (["statuss"], "No such command 'statuss'. Did you mean 'status'? Help: almr --help"),
        (["plan"], "Missing argument 'STUDY'. Help: almr plan --help"),
        (["plan", "demo", f"--{'x' * 5000}"], "No such option: --xxx"),
        (["x" * 5000], "No such command 'xxx"),
        (["plan", f"{'x' * 5000}.yaml"], "no such study file"),
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
        cli.run_command()
    assert ended.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert len(lines[0]) <= 300
    assert expected in lines[0]


def test_a_relative_cache_is_meant_from_where_the_command_is_given(tmp_path: Path) -> None:
    """Ray's workers and the trainers of parity runs have other working directories."""
    script = "import os, sys; from sweep import cli; sys.argv = ['almr', '--version']\n"
    script += "try: cli.run_command()\nfinally: print(os.environ['ALMR_CACHE'], os.environ['HF_HOME'], sep='\\n')"
    environment = os.environ | {
        "ALMR_CACHE": "my cache",
        "HF_HOME": "hf",
        "PYTHONPATH": str(Path(cli.__file__).parents[1]),
    }
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == [str(tmp_path / "my cache"), str(tmp_path / "hf")]
