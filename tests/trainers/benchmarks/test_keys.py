"""Scores that are kept belong to the questions as they are: to the files and the Python that a task file names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pytest

from sweep.study import Study
from sweep.study.sections.benchmarks import Benchmarks
from trainers.benchmarks import definitions, outcome, task_data
from trainers.benchmarks.models.asked import Asked
from trainers.benchmarks.outcome import ScoringOutcome
from trainers.benchmarks.scoring import Scoring
from trainers.workers.group import ALONE

TASK = """task: mine
dataset_path: json
dataset_kwargs: {{data_files: {{test: [{folder}/questions*.jsonl]}}}}
test_split: test
process_docs: !function mine.chosen
"""


@pytest.fixture
def own(tmp_path: Path) -> Benchmarks:
    (tmp_path / "mine.yaml").write_text(TASK.format(folder=tmp_path))
    (tmp_path / "mine.py").write_text("def chosen(rows):\n    return rows\n")
    (tmp_path / "questions.jsonl").write_text('{"question": "1 + 1", "answer": 2}\n')
    return Benchmarks(tasks=["mine"], include=str(tmp_path), task_code=True)


CHANGES = {
    "a question": ("questions.jsonl", '{"question": "1 + 1 = ?", "answer": 2}\n'),
    "another file": ("questions-2.jsonl", '{"question": "2 + 2", "answer": 4}\n'),
    "its Python": ("mine.py", "def chosen(rows):\n    return rows.select([0])\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_base_model_is_scored_anew_where_a_tasks_own_files_changed(
    own: Benchmarks, local_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    asked: list[list[str]] = []
    score = outcome.score([1.0, 0.0], version="1", prompt_sha256="x", group=None, language=None, metric="acc")

    def answered(self: Scoring, tasks: list[str], model: Any) -> ScoringOutcome:
        asked.append(tasks)
        return ScoringOutcome({"mine": score}, {"mine": [1.0, 0.0]})

    monkeypatch.setattr(Scoring, "_score", answered)
    study = local_study.model_copy(update={"benchmarks": own})
    made: Any = SimpleNamespace(fingerprints=lambda: {"base_model": "a"})
    for expected in (1, 1):
        Scoring(study, made, {}, tmp_path, ALONE).base(None)
        assert len(asked) == expected
    name, content = CHANGES[change]
    (tmp_path / name).write_text(content)
    Scoring(study, made, {}, tmp_path, ALONE).base(None)
    assert len(asked) == 2


@pytest.mark.parametrize("change", CHANGES)
def test_models_that_are_scored_by_hand_are_asked_again(own: Benchmarks, tmp_path: Path, change: str) -> None:
    before = Asked(own).keys
    assert Asked(own).keys == before
    name, content = CHANGES[change]
    (tmp_path / name).write_text(content)
    assert Asked(own).keys != before


def test_what_is_fetched_is_what_the_task_file_names(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two revisions of a data set, what was fetched first was read for both: the newest of the hub."""
    asked: list[dict[str, Any]] = []
    rows = datasets.DatasetDict({"test": datasets.Dataset.from_dict({"question": ["1 + 1"]})})
    monkeypatch.setattr(datasets, "load_dataset", lambda *names, **options: asked.append(options) or rows)
    for name, more in (
        ("old", "{revision: v1, trust_remote_code: true, streaming: true}"),
        ("new", "{revision: v2}"),
        ("any", "{}"),
    ):
        text = f"task: {name}\ndataset_path: somebody/data\ndataset_kwargs: {more}\ntest_split: test\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    benchmarks = Benchmarks(tasks=["old", "new", "any"], include=str(tmp_path))
    leaves = [leaf for name in benchmarks.tasks for leaf in definitions.leaves(benchmarks, name)]
    for leaf in leaves:
        task_data.fetch(leaf)
    assert asked == [{"revision": "v1"}, {"revision": "v2"}, {}]
    assert len({task_data.fetched(leaf) for leaf in leaves}) == 3


def test_a_folder_of_ones_own_is_read_again_once_it_changed(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test.jsonl").write_text('{"question": "1 + 1"}\n')
    (tmp_path / "mine.yaml").write_text(f"task: mine\ndataset_path: {tmp_path}/data\ntest_split: test\n")
    benchmarks = Benchmarks(tasks=["mine"], include=str(tmp_path))
    [leaf] = definitions.leaves(benchmarks, "mine")
    task_data.fetch(leaf)
    (tmp_path / "data" / "test.jsonl").write_text('{"question": "2 + 2 = ?"}\n')
    assert task_data.locate(benchmarks, "mine", leaf) is None  # so it is fetched
    task_data.fetch(leaf)
    found = task_data.locate(benchmarks, "mine", leaf)
    assert found
    [file] = found.splits["test"]
    assert datasets.Dataset.from_parquet(file)["question"][0] == "2 + 2 = ?"
