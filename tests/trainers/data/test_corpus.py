from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from samples import CHINESE, ENGLISH, numbered
from transformers import AutoTokenizer

from sweep.study import InputError
from sweep.study.sections.corpora import Corpus
from trainers.data import corpus
from trainers.data.documents import resolve


@pytest.fixture(scope="module")
def tokenizer(small_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(small_model)


def prepare(tokenizer: Any, length: int = 16, **spec: Any) -> corpus.PackedCorpus:
    return corpus.open_packed(pack(tokenizer, length, **spec))


def pack(tokenizer: Any, length: int = 16, **spec: Any) -> Path:
    """The folder of the packed corpus."""
    return corpus.prepare(resolve(Corpus(**spec), "corpora.original"), tokenizer, length)


def documents(count: int) -> list[str]:
    return [f"Document number {i}. " + ENGLISH * (2 + i % 3) for i in range(count)]


def jsonl(path: Path, texts: list[Any], field: str = "text") -> Path:
    path.write_text("".join(json.dumps({"id": i, field: t}) + "\n" for i, t in enumerate(texts)), encoding="utf-8")
    return path


def all_tokens(part: Any) -> list[int]:
    return corpus.blocks(part, range(len(part))).ravel().tolist()


def test_blocks_are_the_documents_in_order_with_their_ends(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    texts = documents(20)
    packed = prepare(tokenizer, files=str(jsonl(tmp_path / "a.jsonl", texts)), held_out=0.2)
    streams = []
    for part in (packed.training, packed.held_out):
        read = tokenizer.decode(all_tokens(part)).split("<end>")
        assert all(text in texts for text in read[:-1])  # the last one is cut at the block's end
        assert part.features["input_ids"].length == 16
        streams.append(set(read[:-1]))
    assert not streams[0] & streams[1]
    facts = packed.facts
    assert facts.documents + facts.held_out_documents == 20
    assert facts.bytes + facts.held_out_bytes == sum(len(t.encode()) for t in texts)
    assert facts.tokens // 16 == facts.blocks == len(packed.training)
    assert facts.held_out_bytes >= 0.2 * (facts.bytes + facts.held_out_bytes)


def test_same_content_is_packed_once_and_other_content_again(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    one = pack(tokenizer, files=str(jsonl(tmp_path / "a.jsonl", documents(9))))
    built = (one / "facts.json").stat().st_mtime_ns
    elsewhere = jsonl(tmp_path / "b.jsonl", documents(9))
    assert pack(tokenizer, files=str(elsewhere)) == one
    assert (one / "facts.json").stat().st_mtime_ns == built
    jsonl(elsewhere, documents(10))
    assert pack(tokenizer, files=str(elsewhere)) != one
    assert pack(tokenizer, 32, files=str(tmp_path / "a.jsonl")) != one


def test_other_text_under_the_same_path_and_time_is_read_anew(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    path = tmp_path / "a.jsonl"
    for word in ("old", "new"):
        jsonl(path, [f"{word} {text}" for text in documents(9)])
        os.utime(path, (1e9, 1e9))
        packed = prepare(tokenizer, files=str(path))
        assert tokenizer.decode(all_tokens(packed.training)).startswith(word)


def test_a_file_named_twice_is_read_once(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    path = jsonl(tmp_path / "a.jsonl", documents(9))
    facts = prepare(tokenizer, files=[str(path), str(tmp_path / "a*.jsonl")]).facts
    assert facts.documents + facts.held_out_documents == 9


def test_copies_of_held_out_documents_are_not_trained_on(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    packed = prepare(tokenizer, files=str(jsonl(tmp_path / "a.jsonl", documents(9) * 3)), held_out=0.1)
    trained, held_out = (
        set(tokenizer.decode(all_tokens(part)).split("<end>")[:-1]) for part in (packed.training, packed.held_out)
    )
    assert held_out
    assert not trained & held_out


def test_a_byte_order_mark_is_not_text(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    for i, text in enumerate(documents(4)):
        (tmp_path / f"{i}.txt").write_text(text, encoding="utf-8-sig")
    packed = prepare(tokenizer, files=str(tmp_path / "*.txt"))
    assert tokenizer.decode(all_tokens(packed.training)).startswith("Document")


def test_text_parquet_and_another_field_are_read_alike(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    texts = documents(8)
    pd.DataFrame({"body": texts}).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "texts").mkdir()
    for i, text in enumerate(texts):
        (tmp_path / "texts" / f"{i}.txt").write_text(text)
    expected = all_tokens(prepare(tokenizer, files=str(jsonl(tmp_path / "a.jsonl", texts))).training)
    for spec in ({"files": str(tmp_path / "a.parquet"), "field": "body"}, {"files": str(tmp_path / "texts/*.txt")}):
        assert all_tokens(prepare(tokenizer, **spec).training) == expected


def test_one_text_file_has_a_document_per_paragraph(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(documents(8)))
    facts = prepare(tokenizer, files=str(tmp_path / "a.txt")).facts
    assert facts.documents + facts.held_out_documents == 8
    assert [json.loads(line)["text"] for line in Path(facts.files[0]).read_text().splitlines()] == documents(8)


def test_other_encodings_are_read_when_stated(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    for i in range(4):
        (tmp_path / f"{i}.txt").write_bytes((numbered(i) + CHINESE * 9).encode("gb18030"))
    packed = prepare(tokenizer, files=str(tmp_path / "*.txt"), encoding="gb18030")
    assert "浪花淘尽英雄" in tokenizer.decode(all_tokens(packed.training))


def test_documents_caps_what_is_read(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    facts = prepare(tokenizer, files=str(jsonl(tmp_path / "a.jsonl", documents(20))), documents=7).facts
    assert facts.documents + facts.held_out_documents == 7


def test_empty_documents_are_dropped(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    facts = prepare(tokenizer, files=str(jsonl(tmp_path / "a.jsonl", [*documents(6), "", "  \n", None]))).facts
    assert facts.documents + facts.held_out_documents == 6


@pytest.mark.parametrize(
    ("write", "spec", "expected"),
    [
        (
            lambda f: jsonl(f / "a.jsonl", documents(5)),
            {"field": "body"},
            "there is no 'body'",
        ),
        (lambda f: jsonl(f / "a.jsonl", documents(5)), {"field": "id"}, "'id' is a number (0), not text"),
        (lambda f: (f / "a.jsonl").write_text(""), {}, "empty"),
        (lambda f: jsonl(f / "a.jsonl", ["", " "]), {}, "empty"),
        (lambda f: (f / "a.jsonl").write_text("{not json\n"), {}, "line 1: is not JSON"),
        (lambda f: jsonl(f / "a.jsonl", documents(1)), {}, "no text is left to train on after the hold-out"),
        (lambda f: jsonl(f / "a.jsonl", ["short", "also", "tiny"]), {}, "shorter than one block"),
        (lambda f: (f / "a.txt").write_bytes(CHINESE.encode("gb18030")), {"files": "a.txt"}, "not readable as utf-8"),
        (
            lambda f: (f / "a.txt").write_text("x"),
            {"files": "a.txt", "encoding": "klingon"},
            "'klingon' is no known encoding",
        ),
        (lambda f: None, {}, "matches no file"),
        (lambda f: (f / "a.docx").write_text("x"), {"files": "a.docx"}, "cannot read .docx"),
    ],
)
def test_unusable_text_is_one_line_that_names_the_field(
    tmp_path: Path, cache: Path, tokenizer: Any, write: Any, spec: dict[str, Any], expected: str
) -> None:
    write(tmp_path)
    spec = {"files": "a.jsonl"} | spec
    spec["files"] = str(tmp_path / spec["files"])
    with pytest.raises(InputError) as raised:
        prepare(tokenizer, **spec)
    assert "corpora.original" in str(raised.value)
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list((cache / "corpora").glob("*"))


def test_blocks_are_memory_mapped(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    packed = prepare(tokenizer, files=str(jsonl(tmp_path / "a.jsonl", documents(9))))
    assert packed.training.cache_files
    assert corpus.blocks(packed.training, [1, 0]).dtype == np.int64
