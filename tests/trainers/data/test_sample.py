"""`documents: N`: a fixed random sample of all texts, whatever files and shards they are in."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweep.study.sections.text.corpora import Corpus
from trainers.data import documents, texts
from trainers.data.origins import hub

WHERE = "corpora.original"
TEXTS = [f"{'English' if i < 300 else 'Chinese'} text {i}" for i in range(600)]


@pytest.fixture(autouse=True)
def own_cache(cache: Path) -> None:
    pass


def sample(most: int | None, found: list[str] = TEXTS, folder: Path | None = None) -> list[str]:
    assert folder
    texts.write((text.encode() for text in found), folder, most)
    return list(texts.opened(folder)["text"])


def read(**spec: Any) -> list[str]:
    return list(documents.read(documents.resolve(Corpus(**spec), WHERE))["text"])


def write(folder: Path, shards: int, order: list[str] = TEXTS) -> str:
    """Shards of parquet with row groups of 20; returns the folder."""
    folder.mkdir()
    for i in range(shards):
        part = order[i * len(order) // shards : (i + 1) * len(order) // shards]
        pq.write_table(pa.table({"text": part, "id": range(len(part))}), folder / f"{i:03d}.parquet", row_group_size=20)
    return str(folder)


def test_it_is_of_all_files_and_the_same_wherever_the_texts_lie(tmp_path: Path) -> None:
    shuffled = random.Random(0).sample(TEXTS, len(TEXTS))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in shuffled))
    found = read(files=str(tmp_path / "a.jsonl"), documents=100)
    assert found == read(files=write(tmp_path / "one", 1), documents=100)
    assert found == read(files=write(tmp_path / "many", 60, shuffled[::-1]), documents=100)
    assert len(found) == len(set(found)) == 100
    assert set(found) < set(TEXTS)
    assert 30 < sum(text.startswith("English") for text in found) < 70  # 50 expected, standard deviation 4.6


def test_it_is_this_sample_on_every_machine(tmp_path: Path) -> None:
    assert sample(3, folder=tmp_path) == ["English text 51", "Chinese text 484", "Chinese text 549"]


@pytest.mark.parametrize("most", [None, 600, 10**9])
def test_of_no_more_than_asked_for_every_text_is_kept(most: int | None, tmp_path: Path) -> None:
    assert sorted(sample(most, folder=tmp_path)) == sorted(TEXTS)


def test_a_smaller_sample_is_the_beginning_of_a_larger_one(tmp_path: Path) -> None:
    larger = sample(200, folder=tmp_path)
    assert sample(50, folder=tmp_path) == larger[:50]


@settings(max_examples=30)
@given(st.lists(st.text(), max_size=60), st.integers(1, 40), st.randoms())
def test_order_does_not_matter_and_copies_count(found: list[str], most: int, order: random.Random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        chosen = sample(most, found, Path(folder))
        assert len(chosen) == min(most, len(found))
        assert not set(chosen) - set(found)
        assert chosen == sample(most, order.sample(found, len(found)), Path(folder))


def test_each_text_is_as_likely_as_any_other(tmp_path: Path) -> None:
    """100 samples of 10 of 20 texts: each text is expected in 50. Chi-squared over the texts."""
    counts = [0] * 20
    for seed in range(100):
        for text in sample(10, [f"{seed} {i}" for i in range(20)], tmp_path):
            counts[int(text.split()[1])] += 1
    assert stats.chisquare(counts).pvalue > 0.001


def test_memory_holds_the_sample_alone(tmp_path: Path) -> None:
    """Few of the texts become candidates, and nothing else is kept."""
    smallest: list[tuple[int, int]] = []
    found = list(texts._candidates((f"text {i}".encode() for i in range(20_000)), smallest, 100))
    assert len(smallest) == 100
    assert len(found) < 1000  # 100 x (1 + ln 200) = 630 expected
    sample(100, TEXTS, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [texts.FILE]


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_a_small_data_set_is_sampled_as_its_files_are(kind: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "set", 3)
    if kind == "jsonl":
        for path in Path(folder).iterdir():
            pq.read_table(path).to_pandas().to_json(path.with_suffix(".jsonl"), orient="records", lines=True)
            path.unlink()
    assert read(dataset=folder, documents=100) == read(files=folder, documents=100)
    assert sorted(read(dataset=folder)) == sorted(TEXTS)


def test_of_a_large_data_set_parts_from_all_over_it_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "FEWEST_ROWS", 100)
    folder = write(tmp_path / "set", 3)
    spec = Corpus(dataset=folder, documents=30)
    stream = datasets.load_dataset(folder, split="train", streaming=True)
    drawn = [row["text"] for row in hub._drawn(stream, spec)]
    assert len(drawn) == hub.MARGIN * 30
    numbers = {int(text.split()[-1]) for text in drawn}
    groups = {number // 20 for number in numbers}
    assert len(groups) >= hub.AT_ONCE or not hub.ROW_GROUPS
    assert {number // 200 for number in numbers} == {0, 1, 2}  # each of the files
    assert read(dataset=folder, documents=30) == list(documents.read(documents.resolve(spec, WHERE))["text"])


def test_parts_follow_one_another_until_all_are_read() -> None:
    parts = [[f"{part}.{i}" for i in range(part)] for part in range(40)]
    found = list(hub._in_turn(iter(map(iter, parts))))
    assert sorted(found) == sorted(item for part in parts for item in part)


def test_text_changed_in_a_local_data_set_is_another_corpus(tmp_path: Path) -> None:
    folder = Path(write(tmp_path / "set", 1))
    spec = Corpus(dataset=str(folder))
    before = documents.resolve(spec, WHERE)
    assert documents.resolve(spec, WHERE) == before
    pq.write_table(pa.table({"text": ["other"]}), folder / "000.parquet")
    assert documents.resolve(spec, WHERE).fingerprint != before.fingerprint
    assert read(dataset=str(folder)) == ["other"]


def test_what_decides_the_texts_is_in_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "body": "b"}\n')
    file = str(tmp_path / "a.jsonl")
    specs = [{}, {"documents": 1}, {"documents": 2}, {"field": "body"}, {"encoding": "ascii"}]
    found = {documents.resolve(Corpus(files=file, **spec), WHERE).fingerprint for spec in specs}
    assert len(found) == len(specs)
