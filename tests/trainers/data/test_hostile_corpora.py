"""Corpora that end the process of another reader, or would be read for ever: one line each."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sweep.study import InputError
from sweep.study.sections.text.corpora import Corpus
from trainers.data import documents
from trainers.data.readers import arrow_json

LINES = "".join(json.dumps({"text": f"Text {i}."}) + "\n" for i in range(9))
DEEP = {"lists": ("[" * 100_000, "]" * 100_000), "objects": ('{"a":' * 100_000, "1" + "}" * 100_000)}


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache))


def refusal(**spec: Any) -> str:
    with pytest.raises(InputError) as raised:
        documents.read(documents.resolve(Corpus(**spec), "corpora.original"))
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("kind", DEEP)
@pytest.mark.parametrize("how", ["files", "dataset", "sample"])
def test_json_that_is_nested_too_deeply_is_one_line(how: str, kind: str, tmp_path: Path) -> None:
    """Arrow's reader, by which `datasets` reads, ends the process."""
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "train.jsonl").write_text(LINES + '{"text": "a", "x": ' + "".join(DEEP[kind]) + "}\n")
    spec: dict[str, Any] = {"files": str(folder)} if how == "files" else {"dataset": str(folder)}
    told = refusal(**spec | ({"documents": 5} if how == "sample" else {}))
    assert "line 10" in told
    assert told.endswith("is nested too deeply: correct or remove it")


def test_what_is_flat_is_not_taken_for_deep() -> None:
    arrow_json.refuse_deep(b"")
    arrow_json.refuse_deep((b'{"text": "a [b] {c} [[["}\n') * 10_000)
    with pytest.raises(pa.ArrowInvalid, match="line 3 "):
        arrow_json.refuse_deep(b"{}\n{}\n" + b"[" * 501)


def test_a_file_of_empty_lines_is_not_read_for_ever(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(LINES.encode() + b"\n" * 1_100_000, 1))
    assert "1,000,000 empty lines in a row: remove them" in refusal(files=str(tmp_path / "a.jsonl.gz"))


def test_a_data_set_of_zst_files_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "train.jsonl.zst").write_bytes(pa.compress(LINES.encode(), "zstd", asbytes=True))
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    assert refusal(dataset=str(folder)).endswith("pip install zstandard, or give them as `files:`")
