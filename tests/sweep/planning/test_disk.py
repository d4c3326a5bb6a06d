"""The planned disk space is never under the real one, and not far above it where the size of the text is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from samples import CHINESE, ENGLISH, make_study, numbered

from sweep.planning import prepared_size
from sweep.planning.disk import disk
from sweep.study import LANGUAGES, Study
from sweep.study.files import cache as cache_files
from trainers import prepare
from trainers.data import corpus
from trainers.data.origins import embedded
from trainers.loop.base import check

BYTES = 400_000  # of each corpus: far more than what describes it
ALMOST = 1.35  # with `tokens`, or with a tokenizer that has one token for each byte


def on_disk(folder: Path) -> int:
    return cache_files.size([str(folder)], set())


def texts(write: Callable[[Path, list[str]], Any], folder: Path, suffix: str) -> dict[str, dict[str, Any]]:
    """The two corpora of a study, written as files."""
    found = {}
    for language, text in zip(LANGUAGES, (ENGLISH, CHINESE), strict=True):
        size = len(text.encode()) * 12
        path = folder / f"{language}{suffix}"
        write(path, [numbered(i) + text * 12 for i in range(BYTES // size)])
        found[language] = {"files": str(path), "held_out": 0.1}
    return found


def as_lines(path: Path, documents: list[str]) -> None:
    lines = (json.dumps({"id": i, "text": text}, ensure_ascii=False) for i, text in enumerate(documents))
    path.write_text("\n".join(lines), encoding="utf-8")


def as_paragraphs(path: Path, documents: list[str]) -> None:
    path.write_text("\n\n".join(documents), encoding="utf-8")


def as_gb18030(path: Path, documents: list[str]) -> None:
    path.write_text("\n\n".join(documents), encoding="gb18030")


def study_of(corpora: dict[str, Any], model: Path) -> Study:
    return make_study(base_model={"pretrained": str(model)}, corpora=corpora)


@pytest.mark.parametrize(
    ("write", "suffix", "encoding", "factor"),
    [(as_lines, ".jsonl", "utf-8", 2), (as_paragraphs, ".txt", "utf-8", 2), (as_gb18030, ".txt", "gb18030", 4)],
)
def test_local_files(
    tmp_path: Path, cache: Path, small_model: Path, write: Any, suffix: str, encoding: str, factor: float
) -> None:
    corpora = texts(write, tmp_path, suffix)
    study = study_of({name: spec | {"encoding": encoding} for name, spec in corpora.items()}, small_model)
    planned = disk(study, None, 6, 1)
    assert planned.to_prepare
    record = prepare.fetch(study)
    lasting = planned.to_prepare - (planned.prepared["temporary"] or 0)
    real = sum(record.sizes.values())
    assert real <= lasting <= factor * real
    assert abs(on_disk(cache) - real) < 20_000  # the record, and locks


@pytest.mark.parametrize("text", ["", "12", chr(34)])
def test_very_short_paragraphs(
    tmp_path: Path, cache: Path, small_model: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "measure", lambda study, made: made.base_check)  # it knows no text like this
    corpora = {}
    for language in LANGUAGES:
        as_paragraphs(tmp_path / f"{language}.txt", [f"{text}{i:x}" for i in range(8_000)])
        corpora[language] = {"files": str(tmp_path / f"{language}.txt"), "held_out": 0.1}
    study = study_of(corpora, small_model)
    planned = disk(study, None, 6, 1)
    lasting = (planned.to_prepare or 0) - (planned.prepared["temporary"] or 0)
    record = prepare.fetch(study)
    assert record.sizes["text"] <= (planned.prepared["text"] or 0)
    assert sum(record.sizes.values()) <= lasting


def test_stated_tokens_make_it_close(tmp_path: Path, cache: Path, small_model: Path) -> None:
    corpora = texts(as_lines, tmp_path, ".jsonl")
    study = study_of(corpora, small_model)
    facts = prepare.fetch(study).ingredients.corpora
    counted = {name: round(facts[name].tokens + facts[name].held_out_tokens, -2) for name in LANGUAGES}
    stated = study_of({name: spec | {"tokens": counted[name]} for name, spec in corpora.items()}, small_model)
    planned, real = disk(stated, None, 6, 1), sum(prepare.fetch(stated).sizes.values())
    lasting = (planned.to_prepare or 0) - (planned.prepared["temporary"] or 0)
    assert real <= lasting <= ALMOST * real


def test_what_lies_there_while_a_corpus_is_packed_is_planned(
    tmp_path: Path, cache: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(texts(as_lines, tmp_path, ".jsonl"), small_model)
    sizes, unlink = [], Path.unlink

    def measured(path: Path, missing_ok: bool = False) -> None:
        sizes.append(on_disk(cache))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", measured)
    prepare.fetch(study)
    assert on_disk(cache) < max(sizes) <= (disk(study, None, 6, 1).to_prepare or 0)


def test_no_copy_of_the_tokens_is_left(tmp_path: Path, cache: Path, small_model: Path) -> None:
    study = study_of(texts(as_lines, tmp_path, ".jsonl"), small_model)
    record = prepare.fetch(study)
    made = record.ingredients
    tokens = sum(facts.tokens + facts.held_out_tokens for facts in made.corpora.values())
    packed = sum(record.sizes[f"corpora.{name}"] for name in LANGUAGES)
    assert 3.9 * tokens <= packed <= prepared_size.TOKEN * tokens + 2 * prepared_size.CORPUS_FILES
    columns = [set(datasets.Dataset.from_file(str(f)).column_names) for f in (cache / "datasets").rglob("*.arrow")]
    assert not [names for names in columns if "input_ids" in names]


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".parquet"])
def test_the_size_of_compressed_text_is_not_known_before_it_is_read(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"")
    spec = {"files": str(tmp_path / f"a{suffix}")}
    planned = disk(make_study(corpora={"original": {"embedded": "shakespeare"}, "additional": spec}), None, 6, 1)
    assert (planned.prepared["corpora"], planned.prepared["text"], planned.total) == (None, None, None)


def test_the_size_of_a_data_set_of_the_hub_is_not_known_either(cache: Path) -> None:
    corpora = {"original": {"embedded": "shakespeare"}, "additional": {"dataset": "a/b", "tokens": 1000}}
    planned = disk(make_study(corpora=corpora), None, 6, 1)
    assert planned.prepared["corpora"]
    assert (planned.prepared["text"], planned.prepared["downloads"]) == (None, None)


def test_benchmarks_of_the_harness_are_not_known_and_the_embedded_ones_take_nothing() -> None:
    assert disk(make_study(benchmarks={"suite": "embedded"}), None, 6, 1).prepared["benchmarks"] == 0
    assert disk(make_study(benchmarks={"tasks": ["gsm8k"]}), None, 6, 1).prepared["benchmarks"] is None


def test_every_embedded_text_and_model_has_a_size() -> None:
    assert prepared_size.EMBEDDED_TEXTS.keys() == embedded.BOOKS.keys() | embedded.MADE.keys()
    assert prepared_size.TINY_CORPORA.keys() == {"shakespeare", "three-kingdoms"}
    assert prepared_size.EMBEDDED_MODELS.keys() == prepared_size.ARCHIVES.keys()


def test_a_text_that_the_tiny_model_has_packed_already_counts_once() -> None:
    training = make_study().training.model_dump() | {"sequence_length": 128, "global_batch_tokens": 256}
    same = disk(make_study(training=training), None, 6, 1).prepared["text"] or 0
    other = disk(make_study(), None, 6, 1).prepared["text"] or 0
    assert other - same > 4 * sum(prepared_size.TINY_CORPORA.values())


def test_a_launch_bundle_has_a_copy_of_the_held_out_text_for_each_format(small_model: Path) -> None:
    launch = {"model": str(small_model), "tokens": 1e6, "global_batch_tokens": 1024, "sequence_length": 32}
    launch |= {"nodes": 1, "gpus_per_node": 1, "micro_batch_sequences": 1, "transfer": {"rule": "direct"}}
    bundle = disk(make_study(launch=launch), None, 6, 1).parts["bundle"] or 0
    text = sum(prepared_size.EMBEDDED_TEXTS[name] for name in ("shakespeare", "three-kingdoms"))
    folders = 6 * prepared_size.CORPUS_FILES  # of the launch and five confirmation runs
    assert folders + 0.05 * text < bundle < folders + 0.25 * text
    assert disk(make_study(), None, 6, 1).parts["bundle"] == 0


@pytest.mark.slow
def test_the_tokens_of_the_embedded_pair_are_those_that_its_tokenizer_counts() -> None:
    from trainers import tiny
    from trainers.data.tokens.borders import Borders
    from trainers.data.tokens.text_tokenizer import TextTokenizer
    from trainers.model.loading import load_tokenizer

    study = make_study()
    tokenizer = load_tokenizer(study.base_model, str(tiny.build()))
    text = TextTokenizer(tokenizer, Borders.of(tokenizer, study.documents))
    for source in tiny.sources().values():
        facts = corpus.open_packed(corpus.prepare(source, text, prepared_size.TINY_LENGTH)).facts
        assert facts.tokens + facts.held_out_tokens == prepared_size.TINY_CORPORA[str(source.spec.embedded)]
        assert Path(source.files[0]).stat().st_size == prepared_size.EMBEDDED_TEXTS[str(source.spec.embedded)]
