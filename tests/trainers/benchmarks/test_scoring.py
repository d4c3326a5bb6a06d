"""Scores in the record: what a trial keeps, what the base model's are measured once for, and what must not change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweep.study import Record, Status, Study, Trial
from sweep.study.sections.benchmarks import Benchmarks
from trainers import prepare
from trainers.benchmarks import scoring
from trainers.benchmarks.outcome import ScoringOutcome
from trainers.trials import cpt, finalist

TIMINGS = {"seconds", "training_seconds", "tokens_per_second", "gpu_hours", "peak_memory_bytes", "provenance"}
EMBEDDED = Benchmarks(suite="embedded")


def scored(study: Study, benchmarks: Benchmarks | None) -> Study:
    return study.model_copy(update={"benchmarks": benchmarks})


def run(study: Study, folder: Path, lr: float = 1e-2) -> Record:
    folder.mkdir(exist_ok=True)
    return cpt.run_trial(study, Trial(almr=0.5, lr=lr, seed=0), prepare.prepare(study), folder)


@pytest.mark.slow
def test_a_trial_is_scored_and_its_losses_stay_the_same(local_study: Study, tmp_path: Path) -> None:
    plain = run(local_study, tmp_path / "plain")
    record = run(scored(local_study, EMBEDDED), tmp_path / "scored")
    assert record.model_dump(exclude=TIMINGS | {"scores"}) == plain.model_dump(exclude=TIMINGS | {"scores"})
    assert set(record.scores) == {"cloze_original", "cloze_additional"}
    questions = json.loads((tmp_path / "scored" / "questions.json").read_text())
    for task, score in record.scores.items():
        assert score.n == len(questions[task])
        assert score.value == pytest.approx(sum(questions[task]) / score.n)
        assert score.language == task.removeprefix("cloze_")
    assert not (tmp_path / "plain" / "questions.json").exists()


@pytest.mark.slow
def test_the_base_model_is_scored_once(
    local_study: Study, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = scored(local_study, EMBEDDED)
    asked: list[Any] = []
    score = scoring.score_cloze
    monkeypatch.setattr(scoring, "score_cloze", lambda *of: asked.append(of[0]) or score(*of))
    one, other = run(study, tmp_path / "one"), run(study, tmp_path / "other", lr=2e-2)
    assert len(asked) == 2 * 3  # of two languages: the base model, and each trial
    assert one.provenance["base_scores"] == other.provenance["base_scores"]
    base = ScoringOutcome.read_base(cache / scoring.BASES / one.provenance["base_scores"])
    assert base.scores["cloze_original"].prompt_sha256 == one.scores["cloze_original"].prompt_sha256


@pytest.mark.slow
def test_finalists_are_scored_after_the_sweep_by_training_again_or_from_the_kept_model(
    local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = scored(local_study, Benchmarks(suite="embedded", when="finalists"))
    unscored = run(late, tmp_path / "trial")
    assert not unscored.scores
    kept: list[Any] = []
    after = scoring.Scoring.trial

    def keep(self: Any, model: Any, diverged: bool) -> Any:
        kept.append(model)
        return after(self, model, diverged)

    monkeypatch.setattr(scoring.Scoring, "trial", keep)
    again = finalist.score(late, unscored, prepare.prepare(late), tmp_path / "trial")
    assert again.model_dump(exclude={"scores", "provenance"}) == unscored.model_dump(exclude={"scores", "provenance"})
    assert set(again.scores) == {"cloze_original", "cloze_additional"}
    assert again.provenance["questions"] == {"limit": None, "shots": None}
    kept[0].save_pretrained(tmp_path / "trial" / "model")
    (tmp_path / "trial" / "questions.json").unlink()
    from_disk = finalist.score(late, unscored, prepare.prepare(late), tmp_path / "trial")
    assert from_disk.scores == again.scores
    assert (tmp_path / "trial" / "questions.json").exists()


@pytest.mark.slow
def test_a_model_that_cannot_be_had_again_leaves_the_record_as_it_was(local_study: Study, tmp_path: Path) -> None:
    late = scored(local_study, Benchmarks(suite="embedded", when="finalists"))
    record = run(late, tmp_path / "trial")
    other = record.model_copy(update={"loss": record.loss.model_copy(update={"original": 1.0})})
    found = finalist.score(late, other, prepare.prepare(late), tmp_path / "trial")
    assert found.loss == other.loss
    assert "set keep: best or all" in found.score_failures["scoring"]


@pytest.mark.slow
def test_what_cannot_be_scored_is_one_line_each_and_the_losses_stay(local_study: Study, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "broken.yaml").write_text("task: broken\ndataset_path: json\ntest_split: test\noutput_type: nonsense\n")
    (own / "loop.yaml").write_text("group: loop\ntask: [loop]\n")
    (own / "tagged.yaml").write_text("tag: tagged\n")
    tasks = ["gsm8k", "broken", "no_such_task", "loop", "tagged"]
    record = run(scored(local_study, Benchmarks(tasks=tasks, include=str(own))), tmp_path / "trial")
    assert record.status is Status.COMPLETE
    assert record.loss.original is not None
    assert not record.scores
    assert set(record.score_failures) == set(tasks)
    assert "place" in record.score_failures["gsm8k"]
    assert "gsm8k" in record.score_failures["gsm8k"]
    assert not [line for line in record.score_failures.values() if "\n" in line]


@pytest.mark.slow
def test_a_diverged_trial_is_not_scored(local_study: Study, tmp_path: Path) -> None:
    longer = local_study.model_copy(update={"training": local_study.training.model_copy(update={"tokens": 25600})})
    record = run(scored(longer, EMBEDDED), tmp_path / "trial", lr=50.0)
    assert record.status is Status.DIVERGED
    assert (record.scores, record.score_failures) == ({}, {})
