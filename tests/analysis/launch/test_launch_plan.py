"""The numbers that all formats share: batch, steps, schedule, epochs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from analysis.launch.plan.launch_plan import LaunchPlan, make
from sweep.study import InputError
from sweep.study.sections.launch import Launch
from sweep.study.study_file import dump, load

COUNTS = st.integers(1, 64)


@given(nodes=COUNTS, gpus=COUNTS, micro=COUNTS, accumulation=COUNTS, length=st.integers(1, 8192), steps=COUNTS)
def test_the_batch_is_exact(nodes, gpus, micro, accumulation, length, steps):
    batch = nodes * gpus * micro * accumulation * length
    launch = Launch(
        model="m",
        tokens=steps * batch,
        global_batch_tokens=batch,
        sequence_length=length,
        nodes=nodes,
        gpus_per_node=gpus,
        micro_batch_sequences=micro,
    )
    plan = LaunchPlan(None, launch, 0.5, 1e-4, None, (), {})
    assert plan.layout("llamafactory").accumulation(launch) == accumulation
    assert (plan.steps, plan.tokens) == (steps, launch.tokens)


def test_a_study_without_a_launch_is_told_to_add_one(make_fit, make_study, corpora):
    with pytest.raises(InputError, match="add `launch:` with model, tokens"):
        make(make_fit(make_study().model_copy(update={"launch": None})), corpora)


def test_a_table_has_no_launch(make_fit, corpora, refusal):
    fit = replace(make_fit(refusals=[refusal]), study=None)
    with pytest.raises(InputError, match="a table has no launch: "):
        make(fit, corpora)


def test_refusals_are_the_first_of_the_warnings(make_fit, corpora, refusal, warning):
    plan = make(make_fit(refusals=[refusal], warnings=[warning]), corpora, "we know")
    trials = "Suggested trials (ALMR / LR): 0.40 / 3e-4, 0.40 / 1e-3"
    assert plan.fit_warnings[:3] == (refusal.message, warning.message, trials)
    assert "in the launch" in plan.fit_warnings[3]


def test_a_corpus_without_counts_is_refused(make_fit, corpora):
    with pytest.raises(InputError, match=r"ingredients\.json has no counts of the additional corpus"):
        make(make_fit(), {"original": corpora["original"]})


def test_whole_steps_and_the_difference_are_stated(make_fit, corpora):
    plan = make(make_fit(), corpora)
    assert (plan.steps, plan.tokens) == (2384, 2384 * 4_194_304)
    assert (
        "2,384 whole steps are 9,999,220,736 tokens: 779,264 fewer than launch.tokens, 10,000,000,000" in plan.warnings
    )


def test_tokens_of_whole_steps_need_no_warning(make_fit, make_study, corpora):
    plan = make(make_fit(make_study(launch={"tokens": 1000 * 4_194_304})), corpora)
    assert plan.warnings == []


@pytest.mark.parametrize(
    ("schedule", "steps", "says"),
    [
        ({"name": "wsd"}, 1, "training.schedule: one step cannot have both the peak LR and min_lr 0.1"),
        ({"name": "wsd", "warmup": 0.01, "decay": 0.1}, 4, "training.schedule.decay 0.1 lets none of 4 steps decay"),
        ({"warmup": 0.9}, 7, "training.schedule.warmup 0.9 leaves none of 7 steps to decay to min_lr 0.1: lower it"),
    ],
)
def test_a_launch_without_a_whole_schedule_is_refused(make_study, schedule, steps, says):
    training = make_study().training.model_dump() | {"schedule": schedule}
    with pytest.raises(ValidationError, match=f"launch.tokens {steps * 4_194_304}: {says}"):
        make_study(launch={"tokens": steps * 4_194_304}, training=training)


@pytest.mark.parametrize("checkpoints", [1, 3, 10, 2384, 10_000])
def test_no_more_checkpoints_than_asked_for(make_fit, make_study, corpora, checkpoints):
    plan = make(make_fit(make_study(launch={"checkpoints": checkpoints})), corpora)
    assert plan.checkpoint_steps >= 1
    assert -(-plan.steps // plan.checkpoint_steps) <= checkpoints


@pytest.mark.parametrize(("limit", "fix"), [(4, ". Supply a larger corpus."), (1000, "")])
def test_repeated_text_is_a_warning_by_the_language_and_the_limit(
    make_fit, make_study, corpora, make_facts, limit, fix
):
    """The transfer's note on the trials' part of the same corpus gives way to it."""
    spec = {"files": ["/data/chinese.parquet"], "language": "Chinese"}
    study = make_study(
        corpora={"original": {"files": ["/data/english.jsonl"]}, "additional": spec}, objective={"max_epochs": limit}
    )
    small = {**corpora, "additional": make_facts(files=("/data/chinese.parquet",))}
    fit = make_fit(study)
    notes = ("a note", "Chinese corpus: a trial reads it 80 x, the launch 10 x as many tokens of it")
    transfer = fit.file.transfer.model_copy(update={"warnings": notes})
    plan = make(replace(fit, file=fit.file.model_copy(update={"transfer": transfer})), small)
    assert plan.fit_warnings[-1] == "a note"
    assert plan.sources["additional"].epochs == pytest.approx(0.4 * plan.tokens / 5_250_000)
    about = f"Chinese corpus: the launch would read it 762 x (limit {limit} x; a trial reads its training part 80 x)"
    assert plan.warnings[0] == about + fix
    assert plan.sources["original"].epochs < 1


def test_the_head_of_a_corpus_does_not_count_as_all_of_it(make_fit, make_study, corpora):
    capped = {"files": "/data/english.jsonl", "documents": 1000}
    whole = {"files": ["/data/chinese.parquet"]}
    unknown = make(make_fit(make_study(corpora={"original": capped, "additional": whole})), corpora)
    assert unknown.sources["original"].epochs is None
    assert any("state corpora.original.tokens" in warning for warning in unknown.warnings)
    stated = {"original": capped | {"tokens": 10**12}, "additional": whole}
    assert make(make_fit(make_study(corpora=stated)), corpora).sources["original"].epochs == pytest.approx(
        0.006, rel=0.01
    )


@pytest.mark.parametrize("source", [{"files": "books/*.txt"}, {"dataset": "an/other", "field": "content.text"}])
def test_rewritten_files_hold_the_whole_corpus_except_of_the_hub(source, make_fit, make_study, make_facts):
    """Of the hub only the sample was read, and its size is known."""
    facts = make_facts(files=(f"/cache/corpora/{'0' * 16}/documents.jsonl",))
    study = make_study(corpora={"original": source | {"documents": 50}, "additional": {"files": "a.jsonl"}})
    found = make(make_fit(study), {"original": facts, "additional": make_facts(files=("/a.jsonl",))}).sources
    known = facts.tokens + facts.held_out_tokens if "dataset" in source else None
    assert found["original"].corpus_tokens == known


def test_plain_text_was_rewritten_with_its_own_column(make_fit, make_study, make_facts, run):
    spec = {"files": ["books/**/*.txt"], "field": "body"}
    study = make_study(corpora={"original": spec, "additional": {"files": "books/**/*.jsonl", "field": "body"}})
    path = run.parent / "study.yaml"
    path.write_text(dump(study))
    study = load(path)
    found = {
        "original": make_facts(files=(f"/cache/corpora/{'0' * 16}/documents.jsonl",)),
        "additional": make_facts(files=(str(run.parent / "books/a.jsonl"), str(run.parent / "books/b/c.jsonl"))),
    }
    plan = make(make_fit(study), found)
    assert (plan.sources["original"].field, plan.sources["additional"].field) == ("text", "body")
