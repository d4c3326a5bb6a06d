from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from samples import make_study, study_content

from sweep.planning.plan import StudyPlan, concurrency, plan
from sweep.planning.scoring import group
from sweep.study import CorpusFacts, Record, Study
from sweep.trials.progress import RunProgress
from trainers.benchmarks import catalogue, scoring


def facts(blocks: int) -> CorpusFacts:
    counts = dict.fromkeys(
        ("documents", "bytes", "held_out_documents", "held_out_tokens", "held_out_bytes", "held_out_blocks"), 1
    )
    return CorpusFacts(fingerprint="x", tokens=blocks * 32, blocks=blocks, **counts)


def planned(study: Study, **known: Any) -> StudyPlan:
    every = study.grid_trials
    progress = RunProgress(every, every, len(every), known.get("records", []))
    return plan(study, progress, known.get("facts", {}))


def with_sizes(original: float, additional: float, **changes: Any) -> Study:
    corpora = {
        "original": {"embedded": "shakespeare", "tokens": original, "held_out": 0.5},
        "additional": {"embedded": "three-kingdoms", "tokens": additional, "held_out": 0.5, "language": "Chinese"},
    }
    return make_study(corpora=corpora, **changes)


def test_grid_is_every_combination_once() -> None:
    study = make_study(grid={"almr": [0.1, 0.5], "lr": [1e-3, 1e-2, 1e-1], "seeds": [0, 1]})
    trials = study.grid_trials
    assert len(set(trials)) == len(trials) == 12
    assert {(t.almr, t.lr, t.seed) for t in trials} == {
        (a, lr, s) for a in (0.1, 0.5) for lr in (1e-3, 1e-2, 1e-1) for s in (0, 1)
    }


def test_epochs_come_from_stated_sizes_then_from_packed_ones() -> None:
    study = with_sizes(8192, 4096)
    assert planned(study).epochs == {
        "original": pytest.approx([0.9 * 0.5, 0.5 * 0.5, 0.1 * 0.5]),
        "additional": pytest.approx([0.1, 0.5, 0.9]),
    }
    measured = planned(study, facts={"original": facts(64), "additional": facts(32)})
    assert measured.epochs["additional"] == pytest.approx([0.2, 1.0, 1.8])


@pytest.mark.parametrize(("held_out", "warned"), [(64, True), (16, True), (8, False), (4, False), (2, True)])
def test_a_hold_out_far_from_the_stated_share_is_a_warning(held_out: int, warned: bool) -> None:
    study = make_study(corpora=with_sizes(1e6, 1e6).model_dump(mode="json")["corpora"])
    content = study.model_dump(mode="json")
    content["corpora"]["original"]["held_out"] = 0.05
    known = {"original": facts(4).model_copy(update={"tokens": 128 - held_out, "held_out_tokens": held_out})}
    warnings = planned(Study.model_validate(content), facts=known).warnings
    assert any("corpora.original: " in w and "not 5.0 % as in held_out" in w for w in warnings) == warned


def test_a_corpus_that_repeats_is_a_warning_with_its_ratios() -> None:
    warnings = planned(with_sizes(1e6, 2048)).warnings
    assert any(
        "corpora.additional (Chinese) is read up to 1.8 x at ALMR 0.90, and repetition moves the best ALMR" in w
        for w in warnings
    )
    assert not any("corpora.original" in w for w in warnings)


SOURCES = {
    "original": [
        {"embedded": "shakespeare", "name": "plays", "weight": 3, "tokens": 4096, "held_out": 0.5},
        {"files": "no/such/*.parquet", "name": "code", "weight": 1, "language": "English"},
    ],
    "additional": {"embedded": "three-kingdoms", "tokens": 8192, "held_out": 0.5, "language": "Chinese"},
}


def test_epochs_and_warnings_are_of_each_source() -> None:
    found = planned(make_study(corpora=SOURCES))
    assert found.epochs == {
        "plays": pytest.approx([0.9 * 0.75, 0.5 * 0.75, 0.1 * 0.75]),
        "code": None,
        "additional": pytest.approx([0.1 * 0.5, 0.5 * 0.5, 0.9 * 0.5]),
    }
    assert "corpora.code (English): size unknown until it is read: state `tokens` to plan its epochs" in found.warnings
    packed = planned(make_study(corpora=SOURCES), facts={"code": facts(8)})
    assert packed.epochs["code"] == pytest.approx([0.9 * 2, 0.5 * 2, 0.1 * 2])
    assert any("corpora.code (English) is read up to 1.8 x at ALMR 0.10" in warning for warning in packed.warnings)


def test_many_sources_that_take_long_to_evaluate_are_a_warning() -> None:
    """8 steps of 256 tokens; 5 evaluations of 3 sources of 256 tokens, each token a third of the work."""
    recipe = study_content()["training"] | {"evaluate_every": 2}
    [warning] = [w for w in planned(make_study(corpora=SOURCES, training=recipe)).warnings if "held-out losses" in w]
    assert "(5 x 3 sources of at most 256 tokens) take up to 62 % of the time" in warning
    assert not [w for w in planned(make_study(corpora=SOURCES)).warnings if "held-out losses" in w]


@pytest.mark.parametrize(
    ("benchmarks", "guard", "expected"),
    [
        (None, {"task": "mmlu"}, "no trial is scored, so the fit will be refused: add benchmarks, or remove guards"),
        ({"suite": "embedded"}, {"task": "mmlu"}, "no task mmlu, so the fit will be refused: name one of cloze_orig"),
        ({"suite": "embedded"}, {"group": "cloze"}, "no group cloze, so the fit will be refused: name one of cloze, o"),
        ({"suite": "embedded"}, {"group": "cloze, additional language"}, None),
        ({"suite": "embedded"}, {"group": "additional"}, None),
        ({"tasks": ["mmlu"]}, {"group": "English knowledge"}, None),
        ({"tasks": ["mmlu"]}, {"task": "mmlu"}, None),
    ],
)
def test_a_guard_that_no_score_can_test_is_a_warning(
    benchmarks: dict[str, Any] | None, guard: dict[str, str], expected: str | None
) -> None:
    study = make_study(benchmarks=benchmarks, objective={"guards": [guard | {"at_most_drop": 0.1}]})
    found = [warning for warning in planned(study).warnings if warning.startswith("objective.guards: ")]
    assert len(found) == (expected is not None)
    assert not expected or expected in found[0]


def test_the_groups_of_a_plan_are_those_of_the_scores() -> None:
    assert {name: group(name) for name in catalogue.CLOZE.values()} == {
        catalogue.CLOZE[language]: name for language, name in scoring.GROUPS.items()
    }


def test_a_rung_without_a_fit_is_a_warning(tmp_path: Path) -> None:
    launch = {"model": "large", "tokens": 10**9, "global_batch_tokens": 4096, "sequence_length": 128}
    rungs = [{"run": str(tmp_path), "parameters": 10**6}]
    study = make_study(launch=launch | {"transfer": {"rule": "ladder", "rungs": rungs}})
    expected = (
        f"launch.transfer.rungs: {tmp_path} has no fit.json, so the fit will be refused: almr run its study first"
    )
    assert expected in planned(study).warnings
    (tmp_path / "fit.json").write_text("{}")
    assert expected not in planned(study).warnings


def test_an_unknown_size_is_reported_and_not_guessed() -> None:
    plan = planned(make_study())
    assert plan.epochs == {"original": None, "additional": None}
    assert sum("size unknown until it is read" in warning for warning in plan.warnings) == 2


def test_plain_text_sizes_are_estimated_from_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 35_000)
    corpora = study_content()["corpora"] | {"original": {"files": str(tmp_path / "a.txt"), "held_out": 0.5}}
    found = planned(make_study(corpora=corpora))
    assert found.epochs["original"][0] == pytest.approx(0.9 * 2048 / 5000)
    assert found.estimated == ["original"]
    corpora["original"] |= {"tokens": 1000}
    assert planned(make_study(corpora=corpora)).estimated == []


def test_time_is_that_of_finished_trials_once_there_are_some() -> None:
    study = make_study(resources={"tokens_per_second": 1024, "concurrent": 1})
    assert planned(study).seconds == 6 * 2.0
    trial = study.grid_trials[0]
    record = Record(**trial.model_dump(), trial_id=trial.id, fingerprint="x", status="complete", attempt=1, seconds=7.0)
    assert planned(study, records=[record]).trial_seconds == 7.0
    unstated = make_study()
    assert any("time is not known" in warning for warning in planned(unstated).warnings)
    assert not any("time is not known" in warning for warning in planned(unstated, records=[record]).warnings)


def test_tokens_that_are_not_whole_batches_are_reported() -> None:
    study = make_study(training=study_content()["training"] | {"tokens": 2100})
    assert planned(study).tokens_per_trial == 2048
    assert any("2,100 is not a whole number of batches" in warning for warning in planned(study).warnings)


def test_branches_are_planned_as_tokens_and_time_but_add_no_epochs() -> None:
    recipe = study_content()["training"] | {"schedule": {"name": "wsd", "warmup": 0.125, "decay": 0.25}}
    resources = {"tokens_per_second": 1024, "concurrent": 1}
    plain = planned(with_sizes(8192, 4096, training=recipe, resources=resources))
    branched = planned(with_sizes(8192, 4096, training=recipe | {"horizons": [1024, 1100 + 512]}, resources=resources))
    assert branched.epochs == plain.epochs
    assert branched.tokens_per_trial == plain.tokens_per_trial + (1 + 2) * 256  # branches of 4 and 6 steps
    assert branched.seconds == plain.seconds + 6 * 3 * 256 / 1024
    assert any("1,612 is not a whole number of batches: its branch ends at 1,536" in w for w in branched.warnings)


def test_gpu_hours_are_those_of_the_remaining_trials() -> None:
    study = make_study(resources={"gpus_per_node": 1, "tokens_per_second": 2048 / 3600})
    plan = planned(study)
    assert plan.gpu_hours == pytest.approx(6)
    assert plan.seconds is None  # only the cluster knows how many run at once


def test_only_the_cluster_knows_how_many_trials_of_several_nodes_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    training = {"sequence_length": 32, "tokens": 2048, "global_batch_tokens": 256, "evaluation_tokens": 256}

    def parallel(**resources: int) -> int | None:
        return concurrency(make_study(resources=resources, training=training))

    assert parallel(processes=2, cpus=2) == 2
    assert parallel(nodes=2) is None
    assert parallel(nodes=2, concurrent=3) == 3
