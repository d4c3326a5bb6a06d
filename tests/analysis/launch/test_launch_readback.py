"""Each export, read by its trainer's real parser, has the winner's numbers. `make test-exports` runs all of these."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.launch.bundle import FORMATS, FittedRun, export, write
from analysis.launch.evidence.evidence import Evidence
from sweep.external.read_back.verify import verify

VENVS = Path(os.environ.get("ALMR_EXPORT_VENVS", "/nowhere"))
SCHEDULES = {
    "cosine": {"name": "cosine", "warmup": 0.1, "min_lr": 0.1},
    "cosine to 0": {"name": "cosine", "warmup": 0, "min_lr": 0},
    "wsd": {"name": "wsd", "warmup": 0.05, "decay": 0.25, "min_lr": 0.02},
    "wsd to 0": {"name": "wsd", "warmup": 0.05, "decay": 0.25, "min_lr": 0},
    "wsd at once": {"name": "wsd", "warmup": 0, "decay": 0.25, "min_lr": 0.1},
    "one step of warm-up": {"name": "wsd", "warmup": 0.0005, "decay": 0.25, "min_lr": 0.1},
    "wsd without a plateau": {"name": "wsd", "warmup": 0.4, "decay": 0.6, "min_lr": 0.1},
    "constant": {"name": "wsd", "warmup": 0.05, "decay": 0, "min_lr": 1},
    "constant at once": {"name": "wsd", "warmup": 0, "decay": 0, "min_lr": 1},
}


def python(name: str) -> str:
    if name == "native":
        return sys.executable
    found = VENVS / name / "bin" / "python"
    if not found.exists():
        pytest.skip(f"{name} is not installed: make test-exports")
    return str(found)


@pytest.fixture
def plan(make_plan, make_study):
    def made(name, schedule, almr):
        training = make_study().training.model_dump() | {"schedule": SCHEDULES[schedule]}
        held_out = {"original": "/data/held_out_en.jsonl", "additional": "/data/held_out_zh.jsonl"}
        launch = {"gpu": "H100-80GB", "evaluation": held_out if schedule == "wsd" else None}
        return make_plan(name, make_study(launch=launch, training=training), almr=almr)

    return made


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("schedule", "almr"), [("cosine", 0.4), ("wsd", 0.37), ("cosine", 0), ("cosine", 1)])
def test_an_export_has_the_winners_numbers(plan, tmp_path, name, schedule, almr):
    interpreter, made = python(name), plan(name, schedule, almr)
    write(made, name, tmp_path / name)
    verdict = verify(made, tmp_path / name, name, interpreter)
    assert verdict.differences == (), verdict.text


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "native"])
@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name not in ("cosine", "wsd")])
def test_every_schedule_reads_back_step_by_step(plan, tmp_path, name, schedule):
    interpreter, made = python(name), plan(name, schedule, 0.4)
    write(made, name, tmp_path / name)
    assert verify(made, tmp_path / name, name, interpreter).differences == ()


def test_a_trainer_is_looked_for_in_an_environment_of_its_own(plan, tmp_path, monkeypatch):
    made = plan("axolotl", "cosine", 0.4)
    write(made, "axolotl", tmp_path / "axolotl")
    monkeypatch.setenv("ALMR_EXPORT_VENVS", str(tmp_path / "venvs"))
    assert (
        "set ALMR_EXPORT_VENVS to a folder with axolotl/bin/python"
        in verify(made, tmp_path / "axolotl", "axolotl").text
    )
    own = tmp_path / "venvs" / "axolotl" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\necho its own environment >&2\nexit 4\n")
    own.chmod(0o755)
    assert "axolotl: not read back (its own environment" in verify(made, tmp_path / "axolotl", "axolotl").text


def test_brief_runs_are_read_back_too(make_fit, make_study, corpora, run):
    transfer = {"rule": "direct", "confirm": {"runs": 3}}
    fit, out = make_fit(make_study(launch={"gpu": "H100-80GB", "transfer": transfer})), run / "launch"

    def other(plan, folder, name):
        return verify(replace(plan, lr=1.0) if folder.name == "confirm-3-native" else plan, folder, name)

    export(FittedRun(fit, run, corpora), out, formats=("native",), reader=other)
    [found] = Evidence.model_validate_json((out / "evidence.json").read_text()).read_back
    assert found.differences[0].startswith("confirm-3-native: lr: 4e-05")
    assert {line.split(": ")[0] for line in found.differences} == {"confirm-3-native"}


@pytest.mark.parametrize("name", FORMATS)
def test_the_shares_of_several_sources_are_read_back(make_plan, make_study, make_facts, tmp_path, name):
    interpreter = python(name)
    several = {
        "original": [{"files": "/data/a.jsonl", "name": "web"}, {"files": "/data/b.jsonl", "name": "web_text_b"}],
        "additional": [
            {"files": "/data/c.jsonl", "name": "news.zh", "weight": 3},
            {"files": "/data/d.jsonl", "name": "books", "weight": 1},
        ],
    }
    lengths = {"web": 500, "web_text_b": 2000, "news.zh": 800, "books": 40_000}
    counted = {
        n: make_facts(files=(f"/data/{f}.jsonl",), documents=10**8, tokens=10**8 * lengths[n])
        for n, f in zip(lengths, "abcd", strict=True)
    }
    made = make_plan(name, make_study(corpora=several), counted=counted)
    write(made, name, tmp_path / name)
    verdict = verify(made, tmp_path / name, name, interpreter)
    assert verdict.differences == (), verdict.text
    swapped = {
        n: replace(s, share=made.sources["web" if n == "books" else "books"].share) if n in ("web", "books") else s
        for n, s in made.sources.items()
    }
    [first, second] = [
        line
        for line in verify(replace(made, sources=swapped), tmp_path / name, name, interpreter).differences
        if "share" in line
    ]
    assert first.startswith("share of the tokens of web: 0.3, but the winner has 0.1")
    assert second.startswith("share of the tokens of books: 0.1, but the winner has 0.3")


def test_preference_pairs_are_read_back_by_llamafactory(make_plan, make_study, tmp_path):
    interpreter = python("llamafactory")
    training = {"sequence_length": 4096, "tokens": 10**9, "global_batch_tokens": 2**20, "stage": "dpo"}
    chat = {"documents": {"chat_template": "chatml"}, "launch": {"gpu": "H100-80GB"}}
    made = make_plan("llamafactory", make_study(training=training | {"dpo": {"beta": 0.25}}, **chat))
    write(made, "llamafactory", tmp_path / "llamafactory")
    verdict = verify(made, tmp_path / "llamafactory", "llamafactory", interpreter)
    assert verdict.differences == (), verdict.text


@pytest.mark.parametrize("name", FORMATS)
def test_files_of_another_winner_are_found(plan, tmp_path, name):
    interpreter, made = python(name), plan(name, "cosine", 0.4)
    write(replace(made, lr=made.lr * 1.01, almr=0.41), name, tmp_path / name)
    found = verify(made, tmp_path / name, name, interpreter).differences
    assert found is not None
    assert {line.split(":")[0] for line in found} > {"lr"}
