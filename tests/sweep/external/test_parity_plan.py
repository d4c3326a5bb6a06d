"""Which trial is repeated, by which launch, and on which short documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from samples import local_content, with_sources

from analysis.launch.bundle import FORMATS
from analysis.launch.plan.launch_study import launch_study
from sweep.external.parity import documents, repeat
from sweep.external.runs import plan
from sweep.study import Ingredients, InputError, Record, Study
from trainers import prepare as trainers_prepare

NAMES = tuple(FORMATS)


def record(almr=0.5, lr=1e-3, status="complete", **fields):
    content = {"trial_id": f"{almr}-{lr}", "fingerprint": "f", "almr": almr, "lr": lr, "seed": 7, "attempt": 1}
    return Record.model_validate(content | {"status": status} | fields)


def study(resources=None, launched=None, **training):
    content = {
        "name": "s",
        "base_model": {"pretrained": "org/model"},
        "corpora": {"original": {"files": "/a.jsonl"}, "additional": {"files": "/b.jsonl"}},
        "training": {"sequence_length": 64, "tokens": 64 * 8 * 40, "global_batch_tokens": 64 * 8} | training,
        "grid": {"almr": [0.1, 0.5], "lr": [1e-4, 1e-3], "seeds": [7]},
        "resources": resources or {},
        "launch": launched,
    }
    return Study.model_validate(content)


def ingredients(facts, base_model):
    corpora = {"original": facts, "additional": facts}
    return Ingredients(base_model=base_model, base_model_fingerprint="", folders={}, corpora=corpora)


def test_the_trial_nearest_to_the_winner_is_repeated():
    others = [record(0.1), record(0.6, 4e-3), record(0.6, 1e-1), record(0.61, 2e-3, status="diverged")]
    assert repeat.choose(others, None, 0.65, 3e-3).trial_id == "0.6-0.004"
    assert repeat.choose(others, "0.1-0.001", 0.65, 3e-3).almr == 0.1


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("none", "--trial none: no such trial in this run; the nearest to the winner: 0.1-0.001"),
        ("0.6-0.002", "--trial 0.6-0.002: is diverged: name a complete one: 0.1-0.001"),
    ],
)
def test_a_trial_that_cannot_be_repeated_is_refused(named, message):
    with pytest.raises(InputError, match=message):
        repeat.choose([record(0.1), record(0.6, 2e-3, status="diverged")], named, 0.65, 3e-3)


def test_a_run_without_a_finished_trial_is_refused():
    with pytest.raises(InputError, match="no finished trial"):
        repeat.choose([record(status="failed")], None, 0.5, 1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_launch_trains_as_the_trial_did(name, make_facts):
    counted = {"original": make_facts(), "additional": make_facts()}
    of = repeat.of_run(
        study(schedule={"name": "cosine", "warmup": 0.2}), record(), ingredients(make_facts(), "/models/base")
    )
    made = plan.of_study(of.study, of.trial, name, counted)
    assert (made.almr, made.lr, made.seed) == (0.5, 1e-3, 7)
    assert (made.steps, made.launch.sequence_length, made.launch.batch_sequences) == (40, 64, 8)
    assert made.launch.model == "/models/base"
    assert (made.schedule.warmup, made.checkpoint_steps, made.evaluation_steps) == (8, 20, 40)
    assert made.study.training.log_every == 1


@pytest.mark.parametrize(
    ("resources", "micro_batch", "gpus", "sequences"),
    [
        ({}, None, 0, 8),
        ({"cpus": 2}, 3, 0, 2),
        ({"gpus_per_node": 4, "nodes": 2}, None, 4, 1),
        ({"nodes": 4}, None, 0, 2),
        ({"gpus_per_node": 8}, 1, 8, 1),
    ],
)
def test_the_launch_takes_what_a_trial_takes(resources, micro_batch, gpus, sequences):
    launch = plan.launch(study(resources, micro_batch_sequences=micro_batch), "native")
    assert (launch.gpus_per_node, launch.micro_batch_sequences) == (gpus, sequences)
    assert launch.nodes == resources.get("nodes", 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_launch_holds_out_what_the_trial_did(name, make_facts):
    """Of text of another size too: else the training part, and so every row, would be another."""
    counted = {name: make_facts(tokens=90_000_000) for name in ("original", "additional")}
    found = repeat.of_run(study(), record(), ingredients(make_facts(), "/base"))
    made = launch_study(plan.of_study(found.study, found.trial, name, counted))
    spec = {name: source.spec for name, source in made.corpora.by_name.items()}
    assert {name: of.held_out for name, of in spec.items()} == {"original": 0.05, "additional": 0.05}


@pytest.mark.parametrize("name", NAMES)
def test_the_launch_reads_the_part_that_the_trial_drew_from(name, make_facts):
    """Of a trial that repeats as the launch will, whose own study knows a launch that the parity run is not."""
    launch = {"model": "org/large", "tokens": 10**9, "global_batch_tokens": 2**20, "sequence_length": 64}
    content = study(simulate_epochs=True, launched=launch).model_dump(mode="json")
    of = ingredients(make_facts(trial_blocks=100), "/base")
    found = repeat.of_run(Study.model_validate(content), record(), of)
    made = launch_study(plan.of_study(found.study, found.trial, name, of.corpora))
    assert not made.training.simulate_epochs
    assert [source.spec.trial_tokens for source in made.corpora.by_name.values()] == [6400, 6400]
    short = repeat.short_study(found, {"original": Path("/a"), "additional": Path("/b")})
    assert [source.spec.trial_tokens for source in short.corpora.by_name.values()] == [None, None]


def test_a_table_has_no_trial_to_repeat(make_facts):
    with pytest.raises(InputError, match="none was trained"):
        repeat.of_run(
            study().model_copy(update={"replay": object()}), record(), ingredients(make_facts(), "/models/base")
        )


def test_a_run_on_short_documents_has_steps_for_its_schedule():
    assert repeat.short_tokens(study()) == 20 * 64 * 8
    assert repeat.short_tokens(study(schedule={"name": "wsd", "warmup": 0.1, "decay": 0.02})) == 50 * 64 * 8


@pytest.mark.parametrize("sources", [False, True])
def test_documents_are_about_a_third_of_a_sequence_and_enough(tmp_path, small_model, cache, sources):
    content = local_content(tmp_path, small_model)
    content = with_sources(content, tmp_path) if sources else content
    of = Study.model_validate(content | {"grid": {"almr": [0.5], "lr": [1e-3]}})
    made = trainers_prepare.prepare(of)
    repeated = repeat.RepeatedTrial(of, record())
    texts = documents.write(of, made, tmp_path / "short", repeat.short_tokens(of))
    assert set(texts) == set(of.corpora.source_names())
    short = repeat.short_study(repeated, texts)
    found = trainers_prepare.prepare(short)
    for name, facts in found.corpora.items():
        assert of.training.sequence_length / 5 < facts.tokens_per_document < of.training.sequence_length / 2, name
        assert facts.held_out_blocks >= 1
    assert short.training.steps == 20
    assert [s.share for s in short.corpora.by_name.values()] == [s.share for s in of.corpora.by_name.values()]
    again = documents.write(of, made, tmp_path / "again", repeat.short_tokens(of))
    for name, path in texts.items():
        assert path.read_bytes() == again[name].read_bytes()
        assert all(json.loads(line)["text"].strip() for line in path.read_text().splitlines())
