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
from sweep.study.files import cache as cache_files
from sweep.study.sections.text.corpora import Corpus
from sweep.study.sections.text.documents import Documents
from trainers.data import corpus
from trainers.data.documents import resolve
from trainers.data.hold_out.held_out_texts import FILE, TextFile
from trainers.data.tokens.borders import Borders
from trainers.data.tokens.text_tokenizer import TextTokenizer


@pytest.fixture(scope="module")
def tokenizer(small_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(small_model)


def prepare(tokenizer: Any, length: int = 16, **spec: Any) -> corpus.PackedCorpus:
    return corpus.open_packed(pack(tokenizer, length, **spec))


def pack(tokenizer: Any, length: int = 16, others: tuple[Path, ...] = (), **spec: Any) -> Path:
    """The folder of the packed corpus."""
    as_text = TextTokenizer(tokenizer, Borders.of(tokenizer, Documents()))
    return corpus.prepare(resolve(Corpus(**spec), "corpora.original"), as_text, length, others=others)


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


def near_copies() -> list[str]:
    sentence = "The king rode out at dawn and the river was high. "
    return [f"Essay {i // 10}. " + sentence * 3 + " " * (i % 10) + str(i % 10) for i in range(100)]


def test_near_copies_of_held_out_documents_are_dropped_and_counted(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    packed = prepare(tokenizer, files=str(jsonl(tmp_path / "a.jsonl", near_copies())), held_out=0.2)
    facts = packed.facts
    trained, held_out = (
        {text.split(".")[0] for text in tokenizer.decode(all_tokens(part)).split("<end>")[:-1]}
        for part in (packed.training, packed.held_out)
    )
    assert not trained & held_out  # whole essays: the copies of one differ in white space and the last digit
    assert facts.copies == 0
    assert facts.documents + facts.held_out_documents + facts.near_copies == 100
    assert facts.near_copies > 40
    assert facts.near_copied_tokens > 30 * facts.near_copies
    assert facts.documents % 10 == 0


def test_one_giant_document_does_not_take_the_others(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    facts = prepare(tokenizer, files=str(jsonl(tmp_path / "a.jsonl", [*documents(20), "天" * 20_000]))).facts
    assert (facts.held_out_documents, facts.documents) == (1, 20)
    assert facts.held_out_tokens < 0.1 * facts.tokens


def test_without_near_copies_too_little_is_left_in_one_line(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    texts = [f"{ENGLISH * 3} {i}" for i in range(20)]
    with pytest.raises(InputError) as raised:
        prepare(tokenizer, files=str(jsonl(tmp_path / "a.jsonl", texts)))
    assert str(raised.value) == (
        "corpora.original: no text is left to train on: 2 of 20 documents are held out, and every other one repeats "
        "one of them (0 copies, 18 near-copies): give other documents, or, to train on near-copies all the same, write "
        "`near_copies: keep`"
    )
    with pytest.raises(InputError, match=r"training text is shorter .* \(0 copies, \d+ near-copies\); add text"):
        prepare(tokenizer, files=str(jsonl(tmp_path / "a.jsonl", [*texts, "other"])))


def test_a_text_file_without_blank_lines_says_what_separates_documents(
    tmp_path: Path, cache: Path, tokenizer: Any
) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{text}\n" for text in documents(30)))
    with pytest.raises(InputError, match=r"a\.txt is one document, .* blank lines separate the documents of a single"):
        prepare(tokenizer, files=str(tmp_path / "a.txt"))


def test_near_copies_are_kept_where_the_study_says_so(
    tmp_path: Path, cache: Path, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    given: dict[str, Any] = {
        "files": str(jsonl(tmp_path / "a.jsonl", [*near_copies(), *documents(3)])),
        "held_out": 0.2,
    }
    dropped = prepare(tokenizer, **given).facts
    [told] = [record.getMessage() for record in caplog.records if "is dropped from training" in record.getMessage()]
    assert "% of the text is dropped" in told
    assert told.endswith("near-copies): to train on near-copies all the same, write `near_copies: keep`")
    caplog.clear()
    kept = prepare(tokenizer, **given, near_copies="keep").facts
    assert kept.fingerprint != dropped.fingerprint
    assert kept.documents + kept.held_out_documents == 103
    assert (kept.copies, kept.near_copies, kept.near_copied_tokens) == (0, None, None)
    assert kept.held_out_share == dropped.held_out_share
    assert not caplog.records


def test_copies_are_dropped_even_where_near_copies_are_kept(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    path = jsonl(tmp_path / "a.jsonl", documents(9) * 3)
    facts = prepare(tokenizer, files=str(path), held_out=0.1, near_copies="keep").facts
    assert facts.copies
    assert facts.documents % 3 == 0


def test_held_out_documents_lie_beside_the_blocks_as_json_lines(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    texts = [f"{numbered(i)}\u2028{CHINESE}\n{ENGLISH}" for i in range(30)]
    folder = pack(tokenizer, files=str(jsonl(tmp_path / "a.jsonl", texts)), held_out=0.2)
    lines = (folder / "held_out.jsonl").read_text(encoding="utf-8").split("\n")
    written = [json.loads(line)["text"] for line in lines if line]
    assert len(written) == corpus.open_packed(folder).facts.held_out_documents
    assert tokenizer.decode(all_tokens(corpus.open_packed(folder).held_out)).startswith(written[0])
    assert set(written) < set(texts)
    assert CHINESE in lines[0]


def test_held_out_text_of_another_corpus_is_not_trained_on(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    web = pack(tokenizer, files=str(jsonl(tmp_path / "web.jsonl", documents(40))), held_out=0.2)
    unseen = [text.upper() for text in TextFile(web / FILE)]
    own = [f"Code {i} of {i} and {i}. {CHINESE * 3}" for i in range(40)]
    code = {"files": str(jsonl(tmp_path / "code.jsonl", [*own, *unseen[:3]])), "held_out": 0.1}
    alone, beside = (pack(tokenizer, **code, others=others) for others in ((), (web / FILE,)))
    facts = [corpus.open_packed(folder).facts for folder in (alone, beside)]
    kept = len([text for text in unseen[:3] if text not in set(TextFile(alone / FILE))])
    assert kept
    assert (facts[0].near_copies, facts[1].near_copies) == (0, kept)
    assert facts[0].documents - facts[1].documents == kept
    assert [*TextFile(alone / FILE)] == [*TextFile(beside / FILE)]
    assert facts[1].fingerprint == beside.name


def test_beside_other_text_a_corpus_stays_as_it_is(tmp_path: Path, cache: Path, tokenizer: Any) -> None:
    web = pack(tokenizer, files=str(jsonl(tmp_path / "web.jsonl", documents(40))), held_out=0.2)
    spec = {"files": str(jsonl(tmp_path / "b.jsonl", [f"{numbered(i)}{CHINESE * 3}" for i in range(30)]))}
    folders = [pack(tokenizer, **spec), pack(tokenizer, **spec, others=(web / FILE,))]
    one, other = map(corpus.open_packed, folders)
    assert other.facts == one.facts.model_copy(update={"fingerprint": folders[1].name})
    assert all_tokens(one.training) == all_tokens(other.training)
    assert cache_files.size(list(map(str, folders)), set()) < 1.2 * cache_files.size([str(folders[0])], set())


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
