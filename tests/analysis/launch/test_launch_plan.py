"""The numbers that all formats share: batch, steps, schedule, epochs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from analysis.launch.plan.launch_plan import LaunchPlan
from analysis.launch.plan.launch_study import launch_study
from analysis.launch.plan.make_plan import make
from sweep.study import InputError, Study
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
    size = "5.25M tokens, counted"
    about = f"Chinese corpus: the launch would read it 762 x (limit {limit} x; {size}; a trial reads its training part"
    about += " 80 x)"
    assert plan.warnings[0] == about + fix
    assert plan.sources["original"].epochs < 1


SOURCES = [{"files": "books/*.txt"}, {"dataset": "an/other", "field": "content.text"}, {"files": "/data/english.jsonl"}]


@pytest.mark.parametrize("source", SOURCES)
def test_the_sample_that_trials_read_is_not_all_that_the_launch_reads(source, make_fit, make_study, corpora):
    """And their stated `tokens` are the size of the sample. The launch's own text has its own size."""
    capped, whole = source | {"documents": 1000, "tokens": 10**6}, {"files": ["/data/chinese.parquet"]}
    unknown = make(make_fit(make_study(corpora={"original": capped, "additional": whole})), corpora)
    assert unknown.sources["original"].epochs is None
    assert unknown.corpora.original.documents is None
    assert any("state the launch's text and its tokens under launch.corpora" in line for line in unknown.warnings)
    stated = {"corpora": {"original": source | {"tokens": 10**12}, "additional": whole}}
    of = make_study(corpora={"original": capped, "additional": whole}, launch=stated)
    found = make(make_fit(of), corpora)
    assert found.sources["original"].epochs == pytest.approx(0.6 * found.tokens / 10**12)
    assert found.sources["original"].size.source == "as stated"
    assert not any("its size is not known" in line for line in found.warnings)


def test_the_launch_has_sources_of_its_own(make_fit, make_study, corpora, make_facts, tmp_path):
    """In other numbers, with other names and weights; ALMR is the languages'. A file's size tells its tokens."""
    (tmp_path / "news.jsonl").write_bytes(b"x" * 8000)
    own = {
        "original": [
            {"files": "/data/english.jsonl", "name": "web", "weight": 3},
            {"dataset": "an/other", "name": "code", "tokens": 10**9},
            {"files": str(tmp_path / "news.jsonl"), "name": "news"},
        ],
        "additional": {"files": ["/other.parquet"], "language": "Chinese"},
    }
    own["original"] = [{"weight": 1} | one for one in own["original"]]
    study = make_study(launch={"corpora": own})
    plan = make(make_fit(study), {**corpora, "original": make_facts(files=("/data/english.jsonl",))})
    assert {name: round(source.share, 9) for name, source in plan.sources.items()} == pytest.approx(
        {"web": 0.36, "code": 0.12, "news": 0.12, "additional": 0.4}
    )
    sizes = {name: source.size for name, source in plan.sources.items()}
    assert sizes["web"] == (5_250_000, "counted")  # the text of the trials
    assert sizes["code"] == (10**9, "as stated")
    assert sizes["news"] == (8000 * 0.25, "estimated from the bytes of its files")
    assert sizes["additional"] is None
    assert plan.label(plan.sources["web"]) == "web (original)"
    assert any(line.startswith("additional corpus: its size is not known") for line in plan.warnings)
    assert any(line.startswith("news (original) corpus: the launch would read it") for line in plan.warnings)
    assert plan.corpora == study.launch.corpora
    trained = launch_study(plan).corpora.by_name
    wanted = 4 * max(study.training.evaluation_tokens, study.launch.sequence_length)
    assert trained["code"].spec.held_out == pytest.approx(wanted / 10**9, rel=0.01)  # what is measured, of a large text
    assert trained["news"].spec.held_out == trained["additional"].spec.held_out == 0.05  # a small one, and unknown


def test_paths_of_the_launchs_text_are_relative_to_the_study_file(make_study, tmp_path):
    own = {"original": {"files": "../web/*.jsonl"}, "additional": {"files": "zh/*.txt", "exclude": "bench.jsonl"}}
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "study.yaml").write_text(dump(make_study(launch={"corpora": own})))
    found = load(tmp_path / "sub" / "study.yaml").launch.corpora
    assert found.original.files == (str(tmp_path / "web" / "*.jsonl"),)
    assert found.additional.exclude == (str(tmp_path / "sub" / "bench.jsonl"),)


def test_the_launchs_text_holds_nothing_out(make_study):
    own = {"original": {"files": "a.jsonl", "held_out": 0.1}, "additional": {"files": "b.jsonl"}}
    with pytest.raises(ValidationError, match="corpora: held_out: the launch leaves out the trials' held-out text"):
        make_study(launch={"corpora": own})


@pytest.mark.parametrize(
    ("resources", "launch", "found"),
    [
        ({"nodes": 2, "gpus_per_node": 4, "gpu": "H200-141GB"}, {}, (2, 4, "H200-141GB", None)),
        ({"gpus_per_node": 8, "gpu_gigabytes": 64}, {"nodes": 16}, (16, 8, None, 64)),
        ({"gpus_per_node": 8, "gpu_gigabytes": 64}, {"gpu": "H100-80GB"}, (1, 8, "H100-80GB", None)),
        ({"cpus": 2}, {}, (1, 8, None, None)),
        ({"gpus_per_node": 8}, {"gpus_per_node": 0}, (1, 0, None, None)),
    ],
)
def test_the_launch_has_the_machines_of_the_trials_where_it_states_none(make_study, resources, launch, found):
    content = make_study().model_dump(mode="json") | {"resources": resources}
    bare = {name: content["launch"][name] for name in ("model", "tokens", "global_batch_tokens", "sequence_length")}
    content["launch"] = bare | launch
    made = Study.model_validate(content).launch
    assert (made.nodes, made.gpus_per_node, made.gpu, made.gpu_gigabytes) == found
