"""The held-out text in a launch: every format's study leaves it out, and it lies beside it."""

from __future__ import annotations

import json
import random

import pytest

from analysis.launch.bundle import FORMATS, write
from analysis.launch.plan.held_out import HeldOutText
from analysis.launch.plan.make_plan import make
from sweep.study import study_file
from trainers.data.hold_out import excluded, held_out_texts

LANGUAGES = ("original", "additional")


def text(name, seed, words=200):
    """A text of words that no other seed has."""
    draw = random.Random(f"{name} {seed}")
    return " ".join(f"{name}{draw.randrange(10_000)}" for _ in range(words))


def lines(path):
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


def write_lines(path, texts, field="text"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({field: one}) + "\n" for one in texts))
    return path


def near(of):
    """A copy in upper case with another last word, in other text."""
    return f"{of.upper().rsplit(' ', 1)[0]} changed"


@pytest.fixture
def held(tmp_path):
    """Per language: corpus, held-out documents, what repeats them, and what is left. The corpora have other fields."""
    found = {}
    for name in LANGUAGES:
        held_out, clean = [text(name, i) for i in range(3)], [text(name, i) for i in range(100, 130)]
        repeats = [*held_out, held_out[0], near(held_out[1]), f"{text('before', name)} {held_out[2]}"]
        corpus = write_lines(tmp_path / f"{name}.jsonl", [*clean[:15], *repeats, "", *clean[15:]], "body")
        file = write_lines(tmp_path / "cache" / name / "held_out.jsonl", held_out)
        found[name] = {"corpus": corpus, "held_out": held_out, "file": file, "repeats": repeats, "clean": clean}
    return found


@pytest.fixture
def plan(make_study, make_fit, make_facts, held):
    def made(facts=None, **fields):
        corpora = {name: {"files": str(one["corpus"]), "field": "body"} for name, one in held.items()}
        counted = {name: make_facts(files=(str(one["corpus"]),), **facts or {}) for name, one in held.items()}
        text = HeldOutText({name: one["file"] for name, one in held.items()})
        launch = {"model": str(held["original"]["corpus"].parent / "model"), "tokens": 10_000 * 2048, **fields}
        launch |= {"global_batch_tokens": 128 * 8192, "nodes": 1, "sequence_length": 8192}
        return make(make_fit(make_study(corpora=corpora, launch=launch)), counted, held_out=text)

    return made


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_leaves_out_the_trials_held_out_text(plan, held, tmp_path, cache, name):
    """The study that it is packed from names the copies beside it."""
    write(plan(), name, tmp_path / name)
    study = study_file.load(str(tmp_path / name / "study.yaml"))
    for source in study.corpora.by_name.values():
        files = excluded.files(source)
        assert [list(held_out_texts.TextFile(file)) for file in files] == [held[name]["held_out"] for name in LANGUAGES]


def test_large_held_out_text_is_named_where_it_lies(plan, held, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.launch.plan.held_out.SMALL", 10)
    write(plan(), "megatron", tmp_path / "megatron")
    assert not (tmp_path / "megatron" / "held_out").exists()
    assert str(held["original"]["file"]) in (tmp_path / "megatron" / "study.yaml").read_text()


def test_without_held_out_text_the_launch_says_what_it_trains_on(make_plan):
    made = make_plan("llamafactory")
    assert "may train on the trials' held-out text" in made.assumptions[1]


def test_with_held_out_text_it_is_evaluated_on_it_and_trains_on_none(plan):
    made = plan()
    assert len(made.assumptions) == 1
    assert made.unmeasured(LANGUAGES) == []
    assert made.evaluation_files == {name: f"held_out/{name}.jsonl" for name in LANGUAGES}
