"""What is read of files of every kind, and the one line that is said of what cannot be read."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from samples import CHINESE, ENGLISH

from sweep.study import InputError
from sweep.study.sections.text.corpora import Corpus
from trainers.data import documents
from trainers.data.readers import opening

TEXTS = [f"Document {i}. {ENGLISH}" for i in range(5)] + [f"第{i}回。{CHINESE}" for i in range(5)]
BOM = "\ufeff"


@pytest.fixture(autouse=True)
def own_cache(cache: Path) -> None:
    pass


def read(*files: Path, **spec: Any) -> list[str]:
    return read_as(Corpus(files=[str(file) for file in files], **spec))


def read_as(spec: Corpus) -> list[str]:
    return list(documents.read(documents.resolve(spec, "corpora.original"))["text"])


def jsonl(*records: Any, ends: str = "\n") -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + ends for record in records)


def rows(texts: list[str] = TEXTS, **others: Any) -> list[dict[str, Any]]:
    return [{"text": text} | others for text in texts]


LINES = jsonl(*rows())
NOISE = jsonl(*rows([random.Random(i).randbytes(999).hex() for i in range(200)]))
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: bytes(pa.Codec("zstd").compress(data)),
}
SKIPPED = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"  # a frame of zstd that holds no data

READABLE: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    "plain": ("a.jsonl", LINES.encode(), {}),
    "no newline at the end": ("a.jsonl", LINES.rstrip("\n").encode(), {}),
    "CRLF": ("a.jsonl", jsonl(*rows(), ends="\r\n").encode(), {}),
    "empty lines": ("a.jsonl", jsonl(*rows(), ends="\n\n  \n").encode(), {}),
    "byte-order mark": ("a.jsonl", (BOM + LINES).encode(), {}),
    "files with marks that were joined": (
        "a.jsonl",
        (BOM + jsonl(*rows()[:4]) + BOM + jsonl(*rows()[4:])).encode(),
        {},
    ),
    "escaped": ("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows()).encode(), {}),
    "UTF-16": ("a.jsonl", LINES.encode("utf-16"), {"encoding": "utf-16"}),
    "UTF-16 without a mark": ("a.jsonl", LINES.encode("utf-16-be"), {"encoding": "utf-16-be"}),
    "GB18030": ("a.jsonl", LINES.encode("gb18030"), {"encoding": "gb18030"}),
    "French in Latin-1": (
        "a.jsonl",
        jsonl(*rows(["« Là-bas, à côté, l'été », dit-il"] * 50)).encode("latin-1"),
        {"encoding": "latin-1"},
    ),
    "Big5 has backslashes inside characters": (
        "a.jsonl",
        jsonl(*rows(["功許蓋"])).encode("big5"),
        {"encoding": "big5"},
    ),
    "other fields of any kind": (
        "a.jsonl",
        jsonl(
            *(
                {"meta": odd, "text": text}
                for odd, text in zip([1, "x", None, [1], {"text": 2}] * 2, TEXTS, strict=True)
            )
        ).encode(),
        {},
    ),
    "NaN and a giant number in other fields": (
        "a.jsonl",
        "".join(f'{{"n": NaN, "m": {"9" * 5000}, "text": {json.dumps(text)}}}\n' for text in TEXTS).encode(),
        {},
    ),
    "nested": (
        "a.jsonl",
        jsonl(*({"text": 1, "content": {"text": t}} for t in TEXTS)).encode(),
        {"field": "content.text"},
    ),
    "a dot in the name": ("a.jsonl", jsonl(*({"content.text": t} for t in TEXTS)).encode(), {"field": "content.text"}),
    "the field's name as a value": ("a.jsonl", jsonl(*rows(type="text")).encode(), {}),
    "twice written keys and half surrogates in other fields": (
        "a.jsonl",
        "".join(
            f'{{"a": 1, "a": {{"text": 1, "text": "\\ud83d"}}, "text": {json.dumps(t)}}}\n' for t in TEXTS
        ).encode(),
        {},
    ),
    "an array": ("a.json", json.dumps(rows(), indent=1).encode(), {}),
    "an array on one line": ("a.json", json.dumps(rows()).encode(), {}),
    "compressed without the ending": ("a.jsonl", gzip.compress(LINES.encode()), {}),
    "gzip of several members": ("a.jsonl.gz", b"".join(gzip.compress(jsonl(row).encode()) for row in rows()), {}),
    "zstd of several frames": (
        "a.jsonl.zst",
        SKIPPED.join(COMPRESS[".zst"](jsonl(row).encode()) for row in rows()),
        {},
    ),
    "zstd that begins with a frame to skip": ("a.jsonl.zst", SKIPPED + COMPRESS[".zst"](LINES.encode()), {}),
    "upper case": ("A.JSONL.GZ", gzip.compress(LINES.encode()), {}),
} | {f"{ending} data": (f"a.jsonl{ending}", pack(LINES.encode()), {}) for ending, pack in COMPRESS.items()}


@pytest.mark.parametrize("case", READABLE)
def test_what_can_be_read_is_read_as_it_is(case: str, tmp_path: Path) -> None:
    name, content, spec = READABLE[case]
    (tmp_path / name).write_bytes(content)
    others = {"Big5": ["功許蓋"], "French": ["« Là-bas, à côté, l'été », dit-il"] * 50}
    assert read(tmp_path / name, **spec) == others.get(case.split()[0], TEXTS)


@pytest.mark.parametrize(
    "character", ["\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x85", "\r", "\t", "\0", "\ufeff", "😀"]
)
def test_no_character_of_a_text_ends_a_line(character: str, tmp_path: Path) -> None:
    raw = json.dumps({"text": f"one{character}two"}, ensure_ascii=character in "\r\t\0\x0b\x0c\x1c")
    (tmp_path / "a.jsonl").write_text(f"{raw}\n{raw}\n", encoding="utf-8", newline="")
    assert read(tmp_path / "a.jsonl") == [f"one{character}two"] * 2


UNREADABLE: dict[str, tuple[str, bytes, dict[str, Any], str, int | None]] = {
    "torn": ("a.jsonl", LINES.encode() + b'{"text": "cut of', {}, "is cut off", 11),
    "torn in a number": ("a.jsonl", LINES.encode() + b'{"id": ', {}, "is cut off", 11),
    "torn in an escape": ("a.jsonl", LINES.encode() + b'{"text": "cut \\u4f', {}, "is cut off", 11),
    "torn in a word": ("a.jsonl", LINES.encode() + b'{"text": "a", "b": tr', {}, "is cut off", 11),
    "torn in a character": ("a.jsonl", LINES.encode()[:-3] + "天".encode()[:2], {}, "is cut off", 10),
    "half a surrogate pair": ("a.jsonl", LINES.encode() + b'{"text": "a \\ud83d"}\n', {}, "\\ud83d", 11),
    "the other half": ("a.jsonl", LINES.encode() + b'{"text": "\\ude00 a"}\n', {}, "\\ude00", 11),
    "a number": ("a.jsonl", LINES.encode() + b'{"text": 7}\n', {}, "is a number (7), not text", 11),
    "NaN": ("a.jsonl", LINES.encode() + b'{"text": NaN}\n', {}, "is a number (nan), not text", 11),
    "true": ("a.jsonl", LINES.encode() + b'{"text": true}\n', {}, "is true or false (true), not text", 11),
    "an object with text": (
        "a.jsonl",
        LINES.encode() + b'{"text": {"body": "a"}}\n',
        {},
        "not text: set `field: text.body`",
        11,
    ),
    "a list": ("a.jsonl", LINES.encode() + b'{"text": ["a"]}\n', {}, "is a list (['a']), not text", 11),
    "an object": ("a.jsonl", LINES.encode() + b'{"text": {"a": 1}}\n', {}, "is an object", 11),
    "no object": ("a.jsonl", LINES.encode() + b'"a text"\n', {}, "not an object with 'text'", 11),
    "a null": ("a.jsonl", b"null\n", {}, "is null, not an object", 1),
    "absent": (
        "a.jsonl",
        LINES.encode() + b'{"body": "a"}\n',
        {},
        "are body: add 'text' to this record, or",
        11,
    ),
    "absent inside": (
        "a.jsonl",
        jsonl({"content": {"body": "a"}}).encode(),
        {"field": "content.text"},
        "no 'content.text'",
        1,
    ),
    "inside a list": ("a.jsonl", jsonl({"content": [1]}).encode(), {"field": "content.text"}, "is a list ([1])", 1),
    "written twice inside": (
        "a.jsonl",
        b'{"content": {"text": "a", "text": "b"}}\n',
        {"field": "content.text"},
        "'text' is written twice",
        1,
    ),
    "written twice around": (
        "a.jsonl",
        b'{"content": {"text": "a"}, "content": {"text": "b"}}\n',
        {"field": "content.text"},
        "'content' is written twice",
        1,
    ),
    "an object that is cut off": ("a.json", b'{\n "text": "a"\n', {}, "is cut off", 2),
    "a mark alone": ("a.jsonl", BOM.encode(), {}, "no text in field", None),
    "written twice": ("a.jsonl", LINES.encode() + b'{"text": "a", "text": "b"}\n', {}, "'text' is written twice", 11),
    "two on a line": ("a.jsonl", LINES.encode() + b'{"text": "a"}{"text": "b"}\n', {}, "more follows", 11),
    "over several lines": ("a.jsonl", json.dumps(rows()[0], indent=1).encode(), {}, "does not end on its line", 1),
    "nested deeply": ("a.jsonl", LINES.encode() + b'{"a": ' * 100_000 + b"\n", {}, "is nested too deeply", 11),
    "single quotes": ("a.jsonl", LINES.encode() + b"{'text': 'a'}\n", {}, "is not JSON", 11),
    "a raw tab": ("a.jsonl", LINES.encode() + b'{"text": "a\tb"}\n', {}, "a raw control character ('\\t')", 11),
    "lines that end with CR": ("a.jsonl", jsonl(*rows(), ends="\r").encode(), {}, "end with CR alone", 1),
    "written twice in two spellings": (
        "a.jsonl",
        LINES.encode() + b'{"text": "a", "te\\u0078t": "b"}\n',
        {},
        "'text' is written twice",
        11,
    ),
    "bz2 and then none": ("a.jsonl.bz2", bz2.compress(LINES.encode()) + b"junk" * 9, {}, "damaged or cut off", None),
    **{
        f"the notation {name}": ("a.txt", b"text", {"encoding": name}, "is no known encoding", None)
        for name in ("unicode_escape", "raw_unicode_escape", "idna", "punycode", "rot13")
    },
    "a web page": ("a.jsonl", b"<!DOCTYPE html>\n<html>", {}, "is not JSON", 1),
    "NUL bytes": ("a.jsonl", LINES.encode() + b"\0" * 50, {}, "holds NUL bytes", 11),
    "an array that is cut off": ("a.json", json.dumps(rows(), indent=1).encode()[:-9], {}, "is cut off", None),
    "an array of numbers": ("a.json", b"[1, 2]", {}, "element 1: is a number (1), not an object", None),
    "an array, and more": ("a.json", b"[]\n[]", {}, "more follows", 2),
    "another encoding": ("a.jsonl", LINES.encode("gb18030"), {}, "not readable as utf-8", 6),
    "another encoding later": (
        "a.jsonl",
        (LINES * 300).encode() + jsonl(*rows()).encode("gb18030"),
        {},
        "not readable as utf-8",
        3006,
    ),
    "another encoding than stated": (
        "a.jsonl",
        "é".encode("latin-1") * 2,
        {"encoding": "ascii"},
        "not readable as ascii",
        1,
    ),
    "UTF-8 that is stated as another": (
        "a.jsonl",
        LINES.encode(),
        {"encoding": "latin-1"},
        "is UTF-8, not latin-1",
        6,
    ),
    **{
        f"UTF-8 late in a {kind} that is stated as {stated}": (
            f"a.{kind}",
            (jsonl(*rows([ENGLISH])) * 3000 + jsonl(*rows([CHINESE]))).encode(),
            {"encoding": stated},
            f"is UTF-8, not {stated}",
            3001,
        )
        for kind in ("jsonl", "txt")
        for stated in ("gb18030", "latin-1")
    },
    "a little UTF-8 that is stated as another": (
        "a.jsonl",
        (jsonl(*rows(["A cup"])) + jsonl(*rows(["Un café"])) * 9).encode(),
        {"encoding": "latin-1"},
        "is UTF-8, not latin-1",
        2,
    ),
    **{
        f"lines of UTF-8 in a file of {stated}": (
            "a.jsonl",
            jsonl(*rows(texts)).encode(stated) + jsonl(*rows(texts)).encode() + jsonl(*rows(texts)).encode(stated),
            {"encoding": stated},
            f"is UTF-8, in a file that is else {stated}",
            4,
        )
        for stated, texts in (
            ("latin-1", ["Un café à la crème brûlée, très sucré, à côté"] * 3),
            ("gb18030", [CHINESE[:28]] * 3),
        )
    },
    **{
        f"{actual} that is stated as {stated}": (
            "a.txt",
            f"one\n{text * 9}".encode(actual),
            {"encoding": stated},
            f"accented or symbols, so the file is not {stated}",
            2,
        )
        for stated in ("latin-1", "cp1252")
        for actual, text in (("gb18030", "话说天下大势"), ("cp1251", "Все счастливые семьи похожи"))
    },
    "ISO-2022-JP that is not stated": (
        "a.txt",
        "one\n吾輩は猫である".encode("iso2022_jp"),
        {},
        "escape sequences of ISO-2022: state its `encoding:`",
        2,
    ),
    "ASCII that is stated as UTF-16": (
        "a.txt",
        ("ab " * 1000).encode(),
        {"encoding": "utf-16-le"},
        "is UTF-8, not utf-16-le",
        1,
    ),
    "Big5 that is stated as GB18030": (
        "a.txt",
        ("one\n" + "話說天下大勢，分久必合" * 9).encode("big5", "ignore"),
        {"encoding": "gb18030"},
        "are for private use",
        2,
    ),
    "UTF-16 that is not stated": ("a.jsonl", LINES.encode("utf-16"), {}, "state `encoding: utf-16`", 1),
    "UTF-16 that is damaged": (
        "a.jsonl",
        LINES.encode("utf-16")[:-1],
        {"encoding": "utf-16"},
        "is cut off",
        10,
    ),
    "GB18030 that is cut off": ("a.txt", "一\n二".encode("gb18030")[:-1], {"encoding": "gb18030"}, "is cut off", 2),
    "half a surrogate pair of UTF-16": (
        "a.txt",
        "one\n".encode("utf-16-le") + b"\x3d\xd8a\0",
        {"encoding": "utf-16-le"},
        "holds half a surrogate pair",
        2,
    ),
    "UTF-32 that is not stated": ("a.jsonl", LINES.encode("utf-32"), {}, "state `encoding: utf-32`", 1),
    "UTF-32 that is stated as UTF-16": (
        "a.jsonl",
        LINES.encode("utf-32"),
        {"encoding": "utf-16"},
        "state `encoding: utf-32`",
        1,
    ),
    "UTF-16 that is stated as Latin-1": (
        "a.txt",
        LINES.encode("utf-16"),
        {"encoding": "latin-1"},
        "state `encoding: utf-16`",
        1,
    ),
    "an encoding for no text": ("a.jsonl", LINES.encode(), {"encoding": "zlib"}, "'zlib' is no known encoding", None),
    "binary": ("a.jsonl", bytes(range(256)) * 9, {}, "is binary", 2),
    "binary text": ("a.txt", b"\x7fELF\x02\0\0\xff\xfe" * 9, {}, "is binary", 1),
    "NUL bytes in text": ("a.txt", b"one\n\ntwo \0 three", {}, "holds NUL bytes", 3),
    "UTF-16 without a mark as text": ("a.txt", "abc".encode("utf-16-le"), {}, "holds NUL bytes", 1),
    "text in another encoding later": ("a.txt", b"one\n\ntwo\n\xff", {}, "not readable as utf-8", 4),
    "parquet as JSON": ("a.jsonl", b"PAR1\x15\x04\x15\xff\xffPAR1", {}, "is a parquet file", 1),
    "no gzip": ("a.jsonl.gz", LINES.encode(), {}, "is not .gz data", None),
    "no zstd": ("a.jsonl.zst", LINES.encode(), {}, "is not .zst data", None),
    "gzip and then none": ("a.jsonl.gz", gzip.compress(LINES.encode()) + b"junk", {}, "damaged or cut off", 11),
    "empty": ("a.jsonl", b"", {}, "0 bytes", None),
    "no text": ("a.jsonl", jsonl({"text": ""}, {"text": "　"}, {"text": None}).encode(), {}, "no text in field", None),
    "Git LFS": (
        "a.jsonl",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123\n",
        {},
        "pointer to a file in Git LFS",
        None,
    ),
    "git-annex": ("a.txt", b"/annex/objects/SHA256E-s12--00.txt\n", {}, "git annex get", None),
    "a link that was written as text": ("a.txt", b"../../blobs/" + b"0f" * 32, {}, "Hugging Face cache", None),
    "Git LFS in place of parquet": (
        "a.parquet",
        b"version https://git-lfs.github.com/spec/v1\n",
        {},
        "git lfs pull",
        None,
    ),
} | {
    f"{ending} cut off": (
        f"a.jsonl{ending}",
        pack(NOISE.encode())[:-20],
        {},
        "cut off",
        None,
    )
    for ending, pack in COMPRESS.items()
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_one_line_with_file_and_line(case: str, tmp_path: Path) -> None:
    name, content, spec, expected, line = UNREADABLE[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as raised:
        read(tmp_path / name, **spec)
    message = str(raised.value)
    assert expected in message
    assert message.startswith("corpora.original")
    assert "\n" not in message
    assert ("encoding" in message) or (name in message)
    assert line is None or f"{name}, line {line}: " in message


def test_the_named_field_alone_is_read(tmp_path: Path) -> None:
    """Columns that differ between files; in one of them they are texts that look like numbers and dates."""
    (tmp_path / "a.jsonl").write_text(jsonl(*rows(["2020-01-01", "2020-01-02"])))
    (tmp_path / "b.jsonl").write_text(jsonl({"text": "12", "meta": {"k": 1}}, {"meta": {"k": "x"}, "text": "b"}))
    assert read(tmp_path / "*.jsonl") == ["2020-01-01", "2020-01-02", "12", "b"]


def test_thousands_of_files_in_folders(tmp_path: Path) -> None:
    tmp_path = tmp_path / "corpus"
    for i in range(1200):
        (tmp_path / f"{i % 7}").mkdir(exist_ok=True, parents=True)
        (tmp_path / f"{i % 7}" / f"{i:05d}.jsonl").write_text(jsonl({"text": f"number {i}"}))
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".part.jsonl.crc").write_bytes(b"\0")
    found = read(tmp_path)
    assert sorted(found) == sorted(f"number {i}" for i in range(1200))
    assert read(tmp_path / "**" / "*.jsonl") == found
    assert read(tmp_path, tmp_path / "3", tmp_path / "[0-9]") == found


def test_a_line_may_be_very_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "天" * 3_000_000
    (tmp_path / "a.jsonl").write_text(jsonl(*rows([long, "short"])), encoding="utf-8")
    assert read(tmp_path / "a.jsonl") == [long, "short"]
    monkeypatch.setattr(opening, "LONGEST", 1000)
    with pytest.raises(InputError, match=r"a\.jsonl, line 1: has more than 1,000 characters: cut it"):
        read(tmp_path / "a.jsonl", documents=1)
    (tmp_path / "a.txt").write_text("word\n" * 999)
    with pytest.raises(InputError, match=r"a\.txt, line 1: a document of over 1,000 characters: cut it"):
        read(tmp_path / "a.txt")
    (tmp_path / "a.json").write_text(json.dumps(rows(), indent=1))
    with pytest.raises(InputError, match=r"a\.json: one JSON value of over 1,000 characters: write JSON Lines"):
        read(tmp_path / "a.json")


def test_paragraphs_of_one_text_file_are_its_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(f"{BOM}one\r\ntwo\r\n\r\nthree\n\n\n four\n\n\n\nfive\n".encode())
    assert read(tmp_path / "a.txt") == ["one\ntwo", "three", "\n four", "five\n"]
    (tmp_path / "b.md").write_text("whole\n\nfile")
    assert read(tmp_path / "a.txt", tmp_path / "b.md")[1:] == ["whole\n\nfile"]


@pytest.mark.parametrize("blank", ["", "  ", "\u3000", "\t \u3000"])
def test_a_blank_line_ends_a_paragraph(blank: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{blank}\none\ntwo\n{blank}\n{blank}\n\u3000three", encoding="utf-8")
    assert [text.lstrip("\n") for text in read(tmp_path / "a.txt")][-2:] == ["one\ntwo", "\u3000three"]


def test_an_empty_file_among_others_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.jsonl").write_text(LINES, encoding="utf-8")
    (tmp_path / "b.jsonl").touch()
    assert read(tmp_path / "*.jsonl") == TEXTS
    assert "b.jsonl has 0 bytes" in caplog.text


def test_a_folder_of_files_with_one_object_each(tmp_path: Path) -> None:
    for i, row in enumerate(rows()):
        (tmp_path / f"{i}.json").write_text(json.dumps(row, indent=i % 3 or None))
    assert read(tmp_path / "*.json") == TEXTS


def test_documents_without_text_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.jsonl").write_text(jsonl({"text": None}, {"text": "a"}, {"text": " \n"}))
    assert read(tmp_path / "a.jsonl") == ["a"]
    assert "2 of 3 documents have no text" in caplog.text


# --- names ---


@pytest.mark.parametrize(
    "name", ["a[1].jsonl", "a*.jsonl", "what?.jsonl", "[x]/[y].jsonl", "a{b}.jsonl", "a b's.jsonl"]
)
def test_a_name_with_the_characters_of_a_pattern_is_that_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(LINES, encoding="utf-8")
    assert read(tmp_path / name) == TEXTS


def test_a_name_that_is_a_pattern_of_others_too_is_refused(tmp_path: Path) -> None:
    for name in ("a[1].jsonl", "a1.jsonl"):
        (tmp_path / name).write_text(jsonl({"text": name}))
    with pytest.raises(InputError, match=r"a\[1\]\.jsonl is a file, and as a pattern it matches .*a1\.jsonl too"):
        read(tmp_path / "a[1].jsonl")
    assert read(tmp_path / "a[[]1].jsonl") == ["a[1].jsonl"]
    assert read(tmp_path / "a*.jsonl") == ["a1.jsonl", "a[1].jsonl"]


def test_a_folder_with_the_characters_of_a_pattern_is_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "dir with [x]"
    folder.mkdir()
    (folder / "a.jsonl").write_text(LINES, encoding="utf-8")
    with pytest.raises(InputError, match="holds characters of a pattern, so write ") as raised:
        read(folder / "*.jsonl")
    assert read(Path(str(raised.value).partition("so write ")[2])) == TEXTS


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "readme.zh.txt", "dataset_infos.json"])
def test_text_about_the_files_of_a_folder_is_left_out(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parquet(tmp_path / "a.parquet", text=TEXTS)
    (tmp_path / name).write_text("What this is.")
    assert read(tmp_path) == TEXTS
    assert f"{tmp_path / name}: left out" in caplog.text


def test_a_folder_with_the_name_of_a_file_stands_for_its_files(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").mkdir()
    (tmp_path / "x.jsonl" / "part-0.jsonl").write_text(LINES, encoding="utf-8")
    assert read(tmp_path / "x.jsonl") == read(tmp_path / "*.jsonl") == TEXTS
    (tmp_path / "y.jsonl").mkdir()
    assert read(tmp_path / "*.jsonl") == TEXTS
    with pytest.raises(InputError, match=r"y\.jsonl is a folder without .*\.jsonl.* files"):
        read(tmp_path / "y.jsonl")


def test_links_are_followed_once_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(LINES, encoding="utf-8")
    (tmp_path / "b.jsonl").symlink_to("a.jsonl")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert read(tmp_path) == read(tmp_path / "*.jsonl") == TEXTS
    (tmp_path / "c.jsonl").symlink_to("../blobs/0f0f")
    for pattern in ("", "*.jsonl", "c.jsonl"):
        with pytest.raises(InputError, match=r"c\.jsonl is a link to \.\./blobs/0f0f, which is not there"):
            read(tmp_path / pattern)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match=r"a\.jsonl is no regular file"):
        read(tmp_path / "a.jsonl")


def test_a_name_with_a_line_break_is_still_one_line(tmp_path: Path) -> None:
    (tmp_path / "a\nb.jsonl").write_text("{")
    with pytest.raises(InputError, match=r"a\\nb\.jsonl', line 1: is cut off") as raised:
        read(tmp_path / "a?b.jsonl")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("denied", ["a.jsonl", ""])
def test_what_may_not_be_read_is_one_line(denied: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the system's refusal is made here."""
    (tmp_path / "a.jsonl").write_text(LINES, encoding="utf-8")
    denial = PermissionError(13, "Permission denied", str(tmp_path / denied))

    def refuse(*_: Any, **__: Any) -> Any:
        raise denial

    monkeypatch.setattr("builtins.open" if denied else "os.scandir", refuse)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\): correct its permissions") as raised:
        read(tmp_path / denied)
    assert str(tmp_path / denied) in str(raised.value)


# --- what other trainers read ---

ALIKE = jsonl(*rows(meta={"a": 1}), {"text": "x", "meta": {"a": None}}, {"text": "x", "meta": None})
FOR_OTHERS: dict[str, tuple[str, str, dict[str, Any], bool]] = {
    "records that are alike": ("a.jsonl", ALIKE, {}, False),
    "another encoding": ("a.jsonl", LINES, {"encoding": "gb18030"}, False),
    "text": ("a.txt", "one\n\ntwo", {}, True),
    "a field more": ("a.jsonl", jsonl(*rows(), *rows(url="x")), {}, True),
    "another kind": ("a.jsonl", jsonl(*rows(n=1), *rows(n="x")), {}, True),
    "another kind inside": ("a.jsonl", jsonl(*rows(n={"a": 1}), *rows(n={"a": "x"})), {}, True),
    "an object and a number": ("a.jsonl", jsonl(*rows(n={"a": 1}), *rows(n=1)), {}, True),
    "nested": ("a.jsonl", jsonl(*({"content": {"text": t}} for t in TEXTS)), {"field": "content.text"}, True),
    "a name like a pattern": ("a[1].jsonl", LINES, {}, True),
    "a name that cannot be shown": ("a\n.jsonl", LINES, {}, True),
    "an object over several lines": ("a.json", json.dumps(rows()[0], indent=1), {}, True),
}


@pytest.mark.parametrize("case", FOR_OTHERS)
def test_what_other_trainers_would_not_read_is_written_for_them(case: str, tmp_path: Path) -> None:
    name, content, spec, written = FOR_OTHERS[case]
    (tmp_path / name).write_text(content, encoding=spec.get("encoding", "utf-8"))
    source = documents.resolve(Corpus(files=str(tmp_path / name.replace("\n", "?")), **spec), "corpora.original")
    found = documents.read(source)
    files = documents.as_files(source, found, tmp_path, tmp_path)
    assert files == ((str(tmp_path / "documents.jsonl"),) if written else (str(tmp_path / name),))
    if written:
        again = (tmp_path / "documents.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["text"] for line in again] == list(found["text"])


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a[1].jsonl"])
def test_a_sample_is_for_the_trials_alone(name: str, tmp_path: Path) -> None:
    content = LINES if "jsonl" in name else "\n\n".join(TEXTS)
    (tmp_path / name).write_text(content, encoding="utf-8")
    source = documents.resolve(Corpus(files=str(tmp_path / name), documents=3), "corpora.original")
    found = documents.read(source)
    (file,) = documents.as_files(source, found, tmp_path, tmp_path)
    assert len(found) == 3
    assert read(Path(file)) == TEXTS


def test_parquet_files_that_differ_are_written_for_others(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", text=TEXTS[:4], id=range(4))
    source = documents.resolve(Corpus(files=str(tmp_path / "*.parquet")), "corpora.original")
    assert documents.as_files(source, documents.read(source), tmp_path, tmp_path) == (str(tmp_path / "a.parquet"),)
    parquet(tmp_path / "b.parquet", text=TEXTS[4:], id=["x"] * 6)
    source = documents.resolve(Corpus(files=str(tmp_path / "*.parquet")), "corpora.original")
    assert documents.as_files(source, documents.read(source), tmp_path, tmp_path)[0].endswith("documents.jsonl")


# --- parquet ---


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())],
    ids=str,
)
def test_a_column_of_any_kind_of_text(kind: Any, tmp_path: Path) -> None:
    column = pa.array([*TEXTS, None], pa.string()).cast(kind)
    assert read(parquet(tmp_path / "a.parquet", body=column, id=range(11)), field="body") == TEXTS


def test_a_column_in_a_struct(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", content=[{"text": t, "n": 1} for t in TEXTS] + [None], text=[1] * 11)
    assert read(path, field="content.text") == TEXTS
    assert read(parquet(path, **{"content.text": TEXTS}), field="content.text") == TEXTS


def test_columns_of_parquet_files_may_differ(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", text=TEXTS[:4], id=range(4))
    parquet(tmp_path / "b.parquet", url=["x"] * 6, id=["y"] * 6, text=TEXTS[4:])
    assert read(tmp_path / "*.parquet") == TEXTS


@pytest.mark.parametrize(
    ("columns", "field", "expected"),
    [
        ({"body": ["a"], "id": [1]}, "text", "there is no 'text'; the columns are body, id: set `field:`"),
        ({"text": [1, 2]}, "text", "'text' holds 'int64', not text"),
        ({"text": [["a"]]}, "text", "not text"),
        ({"text": [{"id": 1, "body": "a"}]}, "text", "not text: set `field: text.body`"),
        ({"content": [{"n": 1}]}, "content.text", "there is no 'content.text'"),
        ({"content": [[{"text": "a"}]]}, "content.text", "there is no 'content.text'"),
        ({"text": pa.array([b"a", b"\xff"])}, "text", "row 2: holds bytes that are not UTF-8"),
        ({"text": ["", None]}, "text", "no text in field 'text'"),
    ],
)
def test_a_column_without_text_is_one_line(columns: Any, field: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        read(parquet(tmp_path / "a.parquet", **columns), field=field)
    assert expected in str(raised.value)
    assert "a.parquet" in str(raised.value)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([["a"], ["b"]], names=["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="two columns are called 'text'"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:99], lambda data: b"{}", gzip.compress])
def test_a_parquet_file_that_is_not_whole_is_one_line(damage: Any, tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", text=TEXTS)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"a\.parquet: is no whole parquet file: fetch it again"):
        read(path)


def test_compressed_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress(b"PAR1"))
    with pytest.raises(InputError, match=r"parquet is compressed inside: decompress the file"):
        read(tmp_path / "a.parquet.gz")
