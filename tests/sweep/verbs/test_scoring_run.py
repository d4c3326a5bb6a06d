"""Benchmarks of a study: what the plan says, and what finished trials lack (test_killed_run.py scores some)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from samples import make_study

from sweep.planning import scoring
from sweep.store.run import Run
from sweep.study import InputError, Record, Study, Trial, study_file
from sweep.verbs.plan.text import benchmark_table


def planned_rows(study: Study) -> list[dict[str, Any]]:
    return [vars(task) for task in scoring.planned(study)]


def test_finished_trials_are_scored_on_what_a_study_asks_later(tmp_path: Path) -> None:
    run, plain = Run(tmp_path / "run"), make_study()
    scores = {name: {"value": 0.5} for name in ("cloze_original", "cloze_additional")}
    known = [{}, {}, {"scores": scores}, {"score_failures": {"scoring": "it hung"}}, {"status": "diverged"}]
    for trial, more in zip(plain.grid_trials, known, strict=False):
        loss = {"original": trial.lr, "additional": trial.almr}
        outcome = {"trial_id": trial.id, "fingerprint": plain.fingerprint, "status": "complete", "attempt": 1}
        run.finish(Record.model_validate(trial.model_dump() | outcome | {"loss": loss} | more))

    def unscored(**benchmarks: Any) -> list[Trial]:
        return scoring.unscored(make_study(benchmarks=benchmarks), run, plain.grid_trials)

    assert unscored(suite="embedded") == plain.grid_trials[:2]
    assert unscored(suite="embedded", when="finalists", finalists=1) == plain.grid_trials[:1]
    assert unscored(suite="embedded", tasks=["gsm8k"]) == plain.grid_trials[:3]
    assert scoring.unscored(plain, run, plain.grid_trials) == []


def test_finished_trials_are_scored_again_when_other_questions_are_asked(tmp_path: Path) -> None:
    run, plain = Run(tmp_path / "run"), make_study()
    names = ("cloze_original", "cloze_additional", "gsm8k")
    stated = [{"questions": {"limit": 100, "shots": None}}, {"questions": {"limit": 50, "shots": None}}, {}]
    for trial, provenance in zip(plain.grid_trials, stated, strict=False):
        outcome = {"trial_id": trial.id, "fingerprint": plain.fingerprint, "status": "complete", "attempt": 1}
        more = {"scores": {name: {"value": 0.5} for name in names}, "provenance": provenance}
        run.finish(Record.model_validate(trial.model_dump() | outcome | more))

    def unscored(**benchmarks: Any) -> list[Trial]:
        return scoring.unscored(make_study(benchmarks=benchmarks), run, plain.grid_trials)

    first, second, _ = plain.grid_trials[:3]
    assert unscored(tasks=["gsm8k"], limit=100) == [second]
    assert unscored(tasks=["gsm8k"], limit=50) == [first]
    assert unscored(tasks=["gsm8k"], limit=50, shots=3) == [first, second]
    assert unscored(suite="embedded", limit=10) == []  # always the same questions


def with_benchmarks(**benchmarks: Any) -> Study:
    return make_study(benchmarks=benchmarks, resources={"tokens_per_second": 1000})


def test_the_plan_lists_tasks_with_their_size_time_and_missing_data(tmp_path: Path, cache: Path) -> None:
    rows = planned_rows(with_benchmarks(suite="almr", limit=100, data=str(tmp_path)))
    questions = {row["name"]: row["questions"] for row in rows}
    one_each = ("drcd", "gsm8k", "eq_bench")
    assert {name: questions[name] for name in one_each} == dict.fromkeys(one_each, 100)
    assert (questions["cmmlu"], questions["mmlu"]) == (6700, 5700)  # of each of 67 and 57 subjects
    assert all(row["seconds"] > 0 for row in rows)
    assert all(str(tmp_path) in row["missing"] for row in rows)


def test_the_plan_refuses_a_task_file_that_is_broken(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "mine.yaml").write_text("group: mine\n")
    study = with_benchmarks(tasks=["mine"], include=str(tmp_path))
    for show in (benchmark_table, planned_rows):
        with pytest.raises(InputError, match=r"benchmarks\.tasks: mine: .*mine\.yaml: task"):
            show(study)
    assert [bool(row.missing) for row in scoring.tasks(study)] == [True]  # a run reports it and goes on


def test_the_embedded_suite_misses_nothing() -> None:
    assert [row["missing"] for row in planned_rows(with_benchmarks(suite="embedded"))] == [None, None]
    assert planned_rows(make_study()) == []


@pytest.mark.parametrize(
    ("benchmarks", "said"),
    [
        ({"when": "all"}, "give a suite"),
        ({"suite": "mine"}, "suite"),
        ({"tasks": ["a b"]}, "tasks"),
        ({"limit": 0}, ""),
    ],
)
def test_what_cannot_be_right_is_one_line(tmp_path: Path, benchmarks: dict[str, Any], said: str) -> None:
    content = study_file.dump(make_study()) + f"benchmarks: {json.dumps(benchmarks)}\n"
    (tmp_path / "study.yaml").write_text(content)
    with pytest.raises(InputError, match=f"benchmarks.*{said}"):
        study_file.load(tmp_path / "study.yaml")


def test_benchmarks_are_not_of_the_recipe() -> None:
    assert with_benchmarks(suite="embedded").fingerprint == make_study().fingerprint
